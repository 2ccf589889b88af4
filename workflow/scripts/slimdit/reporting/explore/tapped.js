// A row that is clicked is compared with the one that was clicked before. Arguments: shown, the rows
// that are drawn; first and second, the names that are compared.
const [index] = shown.selected.indices.slice(-1)
if (index !== undefined && shown.data.name[index] !== second.value) {
  first.value = second.value
  second.value = shown.data.name[index]
}
