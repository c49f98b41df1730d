"""The frame of the page: style, introduction, and a script that sorts tables."""

from string import Template

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Invariance study</title>
<style>
body {
  font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem;
  color: #222;
}
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td {
  padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap;
}
th {
  white-space: normal; vertical-align: bottom; cursor: pointer; background: #f5f5f5;
  position: sticky; top: 0;
}
th:first-child, td:first-child { text-align: left; }
tr.trained td { font-weight: 600; }
td.failed { text-align: left; white-space: normal; }
.scroll { overflow-x: auto; }
.verdict {
  font-size: 17px; padding: .5rem .8rem; border-left: 5px solid #888; background: #f7f7f7;
}
.yes { border-color: #009e73; }
.no { border-color: #d55e00; }
img { max-width: 100%; }
</style>
</head>
<body>
<h1>Invariance study</h1>
<p>A manifestation is the graph that a scheme and a number of steps make of one set of weights. A
network is invariant if no manifestation at least as fine as the one it was trained with loses more
than $tolerance percentage points of test accuracy. A network that was trained in a set of
manifestations is judged in all of that set, and apart from it in all others. The row as trained is
in bold. Click on a heading to sort.</p>
$overview
$sections
<script>
for (const th of document.querySelectorAll("th")) th.onclick = () => {
  const body = th.closest("table").tBodies[0], i = th.cellIndex, up = th.dataset.up !== "1";
  const text = tr => tr.cells[i] ? tr.cells[i].textContent.replaceAll(",", "") : "";
  const key = tr => isNaN(parseFloat(text(tr))) ? text(tr) : parseFloat(text(tr));
  const compare = (a, b) => a < b ? -1 : a > b ? 1 : 0;
  const order = (a, b) =>
    typeof a === typeof b ? compare(a, b) : typeof a === "number" ? -1 : 1;
  const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b)));
  rows.forEach(tr => body.append(tr));
  th.dataset.up = up ? "1" : "0";
};
</script>
</body>
</html>
""")
