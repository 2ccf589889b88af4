// Two rows' numbers and samples of the same noise, and where they differ. Arguments: all, the rows; first and
// second, the chosen names; pictures, what is shown.
const rows = all.data
const names = Array.from(rows.name)
const [a, b] = [first, second].map((select) => rows.strip[names.indexOf(select.value)])
const shown = (caption, inside) => `<figure><figcaption>${caption}</figcaption>${inside}</figure>`
const escaped = (text) => text.replace(/[&<>]/g, (letter) => `&#${letter.charCodeAt(0)};`)
const difference = `<div class="difference"><img src="${a}"><img src="${b}"></div>`
const caption = (name) =>
  `<b>${escaped(name)}</b> ${rows.numbers[names.indexOf(name)].replaceAll("<br>", " · ")}`
pictures.text =
  shown(caption(first.value), `<img src="${a}">`) +
  shown(caption(second.value), `<img src="${b}">`) +
  shown("Difference, four times as bright", difference)
