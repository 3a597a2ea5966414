// Tables that filter and sort, and the column of the scenario table that the reader chooses.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const DASH = "–", THIN = "\u2009", MINUS = "\u2212";

  // As report_figures.number.
  function figure(value, rate) {
    if (value === null || value === undefined) return DASH;
    const steps = rate ? [[10, 1], [1, 2], [0.01, 2]] : [[1000, 0], [100, 1], [0.1, 2], [0.001, 4]];
    const shown = rate ? 100 * value : value;
    const step = steps.find(([bound]) => Math.abs(shown) >= bound);
    let text;
    if (step) text = shown.toLocaleString("en-US", { maximumFractionDigits: step[1] });
    else text = shown ? shown.toPrecision(2) : "0";
    return text.replace("-", MINUS) + (rate ? THIN + "%" : "");
  }

  function shape(name, attributes) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  }

  function bar([value, low, high], [from, to]) {
    const at = (number) => (100 * (number - from)) / (to - from);
    const svg = shape("svg", { class: "bar", viewBox: "-1 0 102 12", preserveAspectRatio: "none", "aria-hidden": "true" });
    svg.append(shape("rect", { class: "rail", x: 0, y: 5.5, width: 100, height: 1 }));
    if (low !== null && high !== null)
      svg.append(shape("rect", { class: "range", x: at(low), y: 4, width: Math.max(at(high) - at(low), 0.6), height: 4 }));
    svg.append(shape("rect", { class: "mark", x: at(value) - 0.9, y: 0, width: 1.8, height: 12 }));
    return svg;
  }

  function span(className, text) {
    const node = document.createElement("span");
    node.className = className;
    node.textContent = text;
    return node;
  }

  function showChosen(table, name) {
    const about = data.metrics[name];
    const row = data.groups[name];
    const ends = row.flatMap((one) => (one ? one.slice(0, 3) : [])).filter((end) => end !== null);
    const low = Math.min(0, ...ends), high = Math.max(0, ...ends);
    const over = high > low ? [low, high] : [low, low + 1];
    const head = document.getElementById("chosen-head");
    head.parentNode.removeAttribute("aria-sort");
    head.textContent = about.label + (about.unit && !about.rate ? ` [${about.unit}]` : "");
    table.ordered.forEach((line, k) => {
      const cell = line.querySelector(".chosen"), one = row[k];
      cell.replaceChildren(DASH);
      cell.dataset.v = one && one[0] !== null ? one[0] : "";
      if (!one || one[0] === null) return;
      cell.replaceChildren(span("value", figure(one[0], about.rate)));
      if (one[1] !== null && one[2] !== null) {
        const lowEnd = figure(one[1], about.rate).replace(THIN + "%", "");
        cell.append(" ", span("ci", `${lowEnd} to ${figure(one[2], about.rate)}`));
      }
      cell.append(bar(one, over));
    });
  }

  // One a table: its rows as they came, and what is asked of them.
  class Table {
    constructor(node) {
      this.node = node;
      this.body = node.tBodies[0];
      this.ordered = [...this.body.rows];
      this.texts = this.ordered.map((row) => row.textContent.toLowerCase());
      this.words = [];
      this.keys = {};
      this.count = document.querySelector(`[data-count="${node.id}"]`);
      this.empty = this.body.insertRow();
      this.empty.className = "none";
      this.empty.hidden = true;
      const cell = this.empty.insertCell();
      cell.colSpan = node.tHead.rows[0].cells.length;
      cell.textContent = "Nothing matches the filter.";
      node.querySelectorAll(".sort").forEach((button) => button.addEventListener("click", () => this.sort(button.parentNode)));
      this.filter();
    }

    filter() {
      let shown = 0;
      this.ordered.forEach((row, k) => {
        const fits = this.words.every((word) => this.texts[k].includes(word)) &&
          Object.entries(this.keys).every(([key, value]) => !value || row.dataset[key] === value);
        row.hidden = !fits;
        shown += fits;
      });
      this.empty.hidden = shown > 0;
      const total = this.ordered.length, rows = total === 1 ? "row" : "rows";
      if (this.count) this.count.textContent = shown === total ? `${total} ${rows}` : `${shown} of ${total} ${rows}`;
    }

    sort(head) {
      const descending = head.getAttribute("aria-sort") === "ascending";
      this.node.querySelectorAll("[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const column = head.cellIndex, numbers = !head.classList.contains("text");
      const value = (row) => {
        const text = row.cells[column].dataset.v ?? row.cells[column].textContent;
        return text === "" ? null : numbers ? Number(text) : text.toLowerCase();
      };
      const sorted = this.ordered.map((row) => [value(row), row]).sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null); // What is missing comes last, either way.
        return (a < b ? -1 : a > b ? 1 : 0) * (descending ? -1 : 1);
      });
      this.body.append(...sorted.map(([, row]) => row), this.empty);
    }
  }

  const tables = {};
  for (const node of document.querySelectorAll("table[id]")) tables[node.id] = new Table(node);

  for (const field of document.querySelectorAll("[data-filter]"))
    field.addEventListener("input", () => {
      const table = tables[field.dataset.filter];
      table.words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      table.filter();
    });
  for (const field of document.querySelectorAll("[data-select]"))
    field.addEventListener("change", () => {
      const table = tables[field.dataset.select];
      table.keys[field.dataset.key] = field.value;
      table.filter();
    });

  const chooser = document.getElementById("chosen-metric");
  if (chooser && chooser.value) {
    showChosen(tables["t-scenarios"], chooser.value);
    chooser.addEventListener("change", () => showChosen(tables["t-scenarios"], chooser.value));
  }

  // report.html#case=GROUP/SEED: a comparison links to a case.
  const asked = new URLSearchParams(location.hash.slice(1)).get("case");
  const row = asked && [...document.querySelectorAll("#t-cases th[data-v]")].find((head) => head.dataset.v === asked);
  if (row) {
    row.parentNode.classList.add("asked");
    row.scrollIntoView({ block: "center" });
  }
})();
