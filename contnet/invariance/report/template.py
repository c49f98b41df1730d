"""The frame of the page: style, explanation, and a script that sorts tables."""

from string import Template

from contnet.look import PAGE_STYLE, SORTING

PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Invariance study</title>
<style>
"""
    + PAGE_STYLE
    + """table { font-size: 12.5px; }
th, td { padding: .2rem .3rem; }
tr.trained td { font-weight: 600; }
td.failed { text-align: left; white-space: normal; }
img { width: 40rem; }
.verdict {
  font-size: 17px; padding: .5rem .8rem; border-left: 5px solid #888; background: #f7f7f7;
  overflow-wrap: anywhere;
}
.yes { border-color: #009e73; }
.no { border-color: #d55e00; }
</style>
</head>
<body>
<h1>Invariance study</h1>
$body
<h2>How to read this</h2>
<p>A manifestation is the graph that a scheme and a number of steps make of one set of weights. A
network is invariant if no manifestation at least as fine as the one it was trained with loses more
than $tolerance percentage points of test accuracy. A network that was trained in a set of
manifestations is judged in all of that set, and apart from it in all others. The row as trained is
in bold. Click on a heading to sort.</p>
<script>
"""
    + SORTING
    + """</script>
</body>
</html>
"""
)
