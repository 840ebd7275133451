"use strict";
// Reads a picture out: the mark nearest to the pointer, or the one the arrow keys are at.
for (const plot of document.querySelectorAll(".plot")) {
  const chart = plot.querySelector(".chart");
  const svg = chart.querySelector("svg");
  const readout = plot.querySelector(".readout");
  const lines = [...svg.querySelectorAll(".values")]
    .map((line) => [...line.querySelectorAll("circle")]).filter((line) => line.length);
  if (!lines.length) continue;
  const hint = readout.textContent;
  const cursor = document.createElementNS(svg.namespaceURI, "circle");
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("r", "8");
  cursor.setAttribute("visibility", "hidden");
  svg.append(cursor);
  let line = -1;
  let point = 0;

  const at = (circle, name) => Number(circle.getAttribute(name));

  const show = () => {
    const circle = lines[line][point];
    const { kind, source } = circle.parentNode.dataset;
    for (const name of ["cx", "cy"]) cursor.setAttribute(name, circle.getAttribute(name));
    cursor.setAttribute("visibility", "visible");
    readout.textContent = `${kind}: ${circle.textContent}`;
    readout.dataset.kind = kind;
    readout.dataset.source = source;
    readout.title = source;
  };

  const clear = () => {
    line = -1;
    cursor.setAttribute("visibility", "hidden");
    readout.textContent = hint;
    delete readout.dataset.kind;
    delete readout.dataset.source;
    readout.removeAttribute("title");
  };

  svg.addEventListener("pointermove", (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let nearest = Infinity;
    lines.forEach((circles, i) => circles.forEach((circle, j) => {
      const distance = Math.hypot(at(circle, "cx") - place.x, at(circle, "cy") - place.y);
      if (distance < nearest) [nearest, line, point] = [distance, i, j];
    }));
    show();
  });

  chart.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    const turns = { ArrowUp: -1, ArrowDown: 1 };
    if (event.key === "Escape") return clear();
    if (!(event.key in steps || event.key in turns)) return;
    event.preventDefault();
    if (line < 0) [line, point] = [0, -1];
    else if (event.key in turns) line = (line + turns[event.key] + lines.length) % lines.length;
    point = Math.min(Math.max(point + (steps[event.key] ?? 0), 0), lines[line].length - 1);
    show();
  });
}
