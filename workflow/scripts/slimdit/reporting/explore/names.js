// The names of the front's rows, those of large points first: each at the first of eight places beside its point where it meets no
// point, no other name and no edge of the plot. Where there is no room it is left out; pointing at the row
// tells it. Arguments: plot; shown and front, the rows that are drawn and those of the front; names, what
// is written; x_range, y_range.
const PLACES = [[1, 0], [-1, 0], [1, 1], [-1, -1], [1, -1], [-1, 1], [0, -2], [0, 2]]
const GAP = 9 // pixels between a point's centre and its name
const HALF = 8 // pixels, of the height of a point and of a name
const pen = document.createElement("canvas").getContext("2d")
pen.font = "12px Helvetica, Arial, sans-serif"
const colour = matchMedia("(prefers-color-scheme: dark)").matches ? "#dddddd" : "#333333"

const [width, height] = [plot.inner_width, plot.inner_height]
const pixels = (value, range, size) => (size * (value - range.start)) / (range.end - range.start)
const centres = ({x, y}) => x.map((_, i) => [pixels(x[i], x_range, width), pixels(y[i], y_range, height)])
const taken = centres(shown.data).map(([x, y]) => [x - HALF, y - HALF, x + HALF, y + HALF])
const meets = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
const has_room = (box) =>
  box[0] >= 0 && box[1] >= 0 && box[2] <= width && box[3] <= height && !taken.some((other) => meets(box, other))

const written = {x: [], y: [], name: [], across: [], up: [], align: [], colour: []}
const sizes = Object.fromEntries(shown.data.name.map((name, i) => [name, shown.data.size[i]]))
const places = centres(front.data).map((place, i) => [place, i, front.data.name[i]])
places.sort((a, b) => sizes[b[2]] - sizes[a[2]])
for (const [[x, y], i, name] of places) {
  const length = pen.measureText(name).width
  for (const [side, shift] of PLACES) {
    const [across, up] = [side * GAP, shift * GAP]
    const align = ["right", "center", "left"][side + 1]
    const left = x + across - (length * (1 - side)) / 2
    const box = [left, y + up - HALF, left + length, y + up + HALF]
    if (!has_room(box)) continue
    taken.push(box)
    const found = {x: front.data.x[i], y: front.data.y[i], name, across, up, align, colour}
    for (const key in found) written[key].push(found[key])
    break
  }
}
names.data = written
