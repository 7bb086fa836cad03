// The chart as a picture that says what it shows, with the credit of the library that drew it.
import { colour } from "../core.js";
import { texts } from "../texts.js";
import { save } from "../ui.js";

export function picture(view, name, lines) {
  const drawn = view.chart.takeScreenshot();
  const ratio = window.devicePixelRatio || 1;
  const [head, line, foot] = [12, 20, 26].map((size) => size * ratio);
  const canvas = document.createElement("canvas");
  canvas.width = drawn.width;
  canvas.height = drawn.height + head + lines.length * line + foot;
  const context = canvas.getContext("2d");
  context.fillStyle = colour("page");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.textBaseline = "top";
  lines.forEach((text, at) => {
    context.fillStyle = colour(at ? "ink-soft" : "ink");
    context.font = `${at ? "" : "600 "}${13 * ratio}px system-ui, sans-serif`;
    context.fillText(text, 12 * ratio, head + at * line);
  });
  context.drawImage(drawn, 0, head + lines.length * line);
  context.fillStyle = colour("ink-soft");
  context.font = `${11 * ratio}px system-ui, sans-serif`;
  context.fillText(`${texts.credit.notice} · ${texts.credit.rest} ${texts.credit.link}`, 12 * ratio, canvas.height - 18 * ratio);
  canvas.toBlob((blob) => save(blob, `${name.replace(/[^\w.-]+/g, "_")}.png`));
}
