"""Drawing: elements of HTML and SVG as text, charts, and the parts of a page that loads nothing. Pure."""
