// What is drawn, for the chosen axes and families. Arguments: all and shown, the rows and those that
// are drawn; front; x and y, what is chosen; families, what is checked of groups; axes, by their keys;
// x_axis and y_axis; band, the window; left_out, a line of text.
const [cost, quality] = [axes[x.value], axes[y.value]]
const wanted = new Set(families.active.map((i) => groups[i]))
const rows = all.data
const names = Array.from(rows.name)
const chosen = names.map((_, i) => i).filter((i) => wanted.has(rows.group[i]))
const kept = chosen.filter((i) => isFinite(rows[x.value][i]) && isFinite(rows[y.value][i]))

const data = {}
for (const key of ["name", "group", "colour", "marker", "edge", "edge_width", "size", "strip", "numbers"])
  data[key] = kept.map((i) => rows[key][i])
for (const [axis, key] of [["x", x.value], ["y", y.value]])
  for (const end of ["", "_low", "_high"])
    data[axis + end] = kept.map((i) => rows[key + end][i])
if (matchMedia("(prefers-color-scheme: dark)").matches) {
  const opposite = {"#000000": "#ffffff", "#ffffff": "#000000"}
  for (const key of ["colour", "edge"]) data[key] = data[key].map((colour) => opposite[colour] ?? colour)
}
shown.selected.indices = []
shown.data = data

// The Pareto front: from the cheapest row on, those of better quality than all before.
const order = kept.map((_, i) => i)
order.sort((a, b) => cost.sign * (data.x[a] - data.x[b]) || quality.sign * (data.y[a] - data.y[b]))
let best = Infinity
const on_front = order.filter((i) => {
  const is_better = quality.sign * data.y[i] < best
  if (is_better) best = quality.sign * data.y[i]
  return is_better
})
front.data = Object.fromEntries(["x", "y", "name"].map((key) => [key, on_front.map((i) => data[key][i])]))

x_axis.axis_label = cost.label
y_axis.axis_label = quality.label
band.visible = quality.window !== null
band.top = quality.window ?? 0
const missing = chosen.filter((i) => !kept.includes(i)).map((i) => names[i])
left_out.text = missing.length ? `Not measured: ${missing.join(", ")}` : ""
