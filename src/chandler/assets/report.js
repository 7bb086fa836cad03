// Draws every <div class="chart" data-figure="id"> from its JSON, in the colours of the page; again when these change.
(function () {
  "use strict";
  function colours(value, style) {
    if (typeof value === "string") {
      return value.startsWith("--") ? style.getPropertyValue(value).trim() : value;
    }
    if (Array.isArray(value)) {
      return value.map(function (one) { return colours(one, style); });
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(function (pair) { return [pair[0], colours(pair[1], style)]; }));
    }
    return value;
  }
  function draw() {
    const style = getComputedStyle(document.documentElement);
    document.querySelectorAll("div.chart").forEach(function (div) {
      const figure = colours(JSON.parse(document.getElementById(div.dataset.figure).textContent), style);
      if (div.clientWidth < 420 && figure.layout.xaxis.tickvals) {
        figure.layout.xaxis.tickvals = figure.layout.xaxis.tickvals.filter(function (_, i) { return i % 2 === 0; });
      }
      Plotly.react(div, figure.data, figure.layout, { displayModeBar: false, responsive: true });
    });
  }
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
