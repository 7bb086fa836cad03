"""How good a forecast was, against what, and the page that says so."""
