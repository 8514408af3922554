// What-if sliders. Everything else of the page works without this script, which loads nothing,
// stores nothing, and writes text only as text.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("what-if-data").textContent);
  const { bins, columns, sliders, widths } = data;

  // Cells are unsigned LEB128 numbers in base64: distance to the cell before, images that pass all
  // that no slider stands for, images of the snapshot. See encode() in curation/report/joint_counts.py.
  function readCells(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const cells = { places: [], passing: [], kept: [] };
    let at = 0;
    const next = () => {
      let value = 0;
      let scale = 1;
      for (;;) {
        const byte = bytes[at++];
        value += (byte & 127) * scale;
        if (byte < 128) return value;
        scale *= 128;
      }
    };
    let number = 0;
    while (at < bytes.length) {
      number += next();
      const place = new Uint8Array(bins.length);
      for (let rest = number, column = bins.length - 1; column >= 0; column--) {
        place[column] = rest % bins[column];
        rest = Math.floor(rest / bins[column]);
      }
      cells.places.push(place);
      cells.passing.push(next());
      cells.kept.push(next());
    }
    return cells;
  }

  const cells = readCells(data.cells);
  const inputs = sliders.map((_, number) => document.getElementById(`slider-${number}`));
  const starts = inputs.map((input) => Number(input.defaultValue));

  // The cut at which a slider stands, null for off.
  function cutOf(number) {
    const position = Number(inputs[number].value);
    const { lower, stops } = sliders[number];
    if (position === (lower ? 0 : stops.length)) return null;
    return stops[lower ? position - 1 : position];
  }

  // First and last bin of each column that stay. Null is bin 0; bin `cut + 2` is the first behind.
  function bounds() {
    const found = bins.map((size) => [0, size - 1]);
    sliders.forEach((slider, number) => {
      const cut = cutOf(number);
      if (cut === null) return;
      const bound = found[slider.column];
      if (slider.lower) {
        bound[0] = Math.max(bound[0], cut + 2);
      } else {
        bound[0] = Math.max(bound[0], 1);
        bound[1] = Math.min(bound[1], cut + 1);
      }
    });
    return found;
  }

  function addUp(limits) {
    const sums = { passing: 0, kept: 0, bars: bins.map((size) => new Array(size).fill(0)) };
    cells.places.forEach((place, number) => {
      let failed = -1; // the only column that leaves this cell out; -2 where several do
      for (let column = 0; column < place.length; column++) {
        if (place[column] < limits[column][0] || place[column] > limits[column][1]) {
          failed = failed === -1 ? column : -2;
        }
      }
      if (failed === -1) {
        sums.passing += cells.passing[number];
        sums.kept += cells.kept[number];
        place.forEach((bin, column) => (sums.bars[column][bin] += cells.passing[number]));
      } else if (failed >= 0) {
        sums.bars[failed][place[failed]] += cells.passing[number];
      }
    });
    return sums;
  }

  const formatter = new Intl.NumberFormat("en-US");
  const say = (name, text) => (document.getElementById(name).textContent = text);
  const signed = (value) =>
    value === 0 ? "no change" : (value > 0 ? "+" : "\u2212") + formatter.format(Math.abs(value));

  function draw(number, bars, limit) {
    const chart = document.getElementById(`chart-${number}`);
    const rects = chart.querySelectorAll("rect.bar-all");
    const height = Number(chart.dataset.height);
    const heights = widths[number].map((width, place) => bars[place + 1] / width);
    const tallest = Math.max(1e-9, ...heights);
    rects.forEach((rect, place) => {
      const tall = (height * heights[place]) / tallest;
      const bin = place + 1;
      rect.setAttribute("y", String(height - tall));
      rect.setAttribute("height", String(tall));
      rect.classList.toggle("is-out", bin < limit[0] || bin > limit[1]);
    });
  }

  // The predicates as a pipeline file writes them, where a slider was moved.
  function predicates() {
    const lines = [];
    const names = [...new Set(sliders.map((s) => s.predicate || `min_${columns[s.column]}`))];
    for (const name of names) {
      const own = sliders
        .map((slider, number) => ({ slider, number }))
        .filter(({ slider }) => (slider.predicate || `min_${columns[slider.column]}`) === name);
      if (own.every(({ number }) => Number(inputs[number].value) === starts[number])) continue;
      const terms = own
        .filter(({ number }) => cutOf(number) !== null)
        .map(({ slider, number }) => `${columns[slider.column]} ${labelOf(number)}`);
      lines.push(terms.length ? `${name}: ${terms.join(" AND ")}` : `# without ${name}`);
    }
    return lines.join("\n");
  }

  const labelOf = (number) => sliders[number].labels[Number(inputs[number].value)];

  const first = addUp(bounds());

  function update() {
    const limits = bounds();
    const sums = addUp(limits);
    inputs.forEach((input, number) => {
      input.setAttribute("aria-valuetext", labelOf(number));
      say(`${input.id}-value`, labelOf(number));
    });
    columns.forEach((_, number) => draw(number, sums.bars[number], limits[number]));
    say("what-if-passing", formatter.format(sums.passing));
    say("what-if-change", signed(sums.passing - first.passing));
    if (document.getElementById("what-if-kept")) {
      say("what-if-kept", formatter.format(sums.kept));
      say("what-if-kept-change", signed(sums.kept - first.kept));
    }
    const text = predicates();
    say("what-if-where", text || "nothing moved yet");
    document.getElementById("what-if-reset").disabled = text === "";
  }

  inputs.forEach((input, number) => {
    // A stop stands below the edge of its bars: bars are one more than stops.
    const bars = bins[sliders[number].column] - 1;
    const edge = (cut) => (cut + 1) / bars;
    const { lower, stops } = sliders[number];
    const from = lower ? 0 : edge(stops[0]);
    const to = lower ? edge(stops[stops.length - 1]) : 1;
    input.style.marginLeft = `calc((100% - 16px) * ${from})`;
    input.style.width = `calc(16px + (100% - 16px) * ${to - from})`;
    input.addEventListener("input", update);
  });
  document.getElementById("what-if-reset").addEventListener("click", () => {
    inputs.forEach((input, number) => (input.value = String(starts[number])));
    update();
    inputs[0].focus();
  });
  document.getElementById("what-if-controls").hidden = false;
  document.querySelectorAll("#what-if [hidden]").forEach((element) => (element.hidden = false));
  inputs.forEach((input, number) => (input.value = String(starts[number])));
  update();
})();
