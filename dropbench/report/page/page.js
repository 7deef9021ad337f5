"use strict";
(() => {
  const root = document.documentElement;
  const toggle = document.getElementById("theme");
  const charts = [...document.querySelectorAll(".chart")];

  const colours = () => {
    const style = getComputedStyle(root);
    const get = (name) => style.getPropertyValue(name).trim();
    return { ink: get("--ink"), line: get("--line"), paper: get("--paper") };
  };

  // Axes are named in each figure; every one of them takes the colours of the theme.
  const themed = (layout) => {
    const { ink, line, paper } = colours();
    const changes = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", "font.color": ink };
    changes["hoverlabel.bgcolor"] = paper;
    changes["hoverlabel.font.color"] = ink;
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      changes[`${axis}.gridcolor`] = line;
      changes[`${axis}.linecolor`] = line;
    }
    return changes;
  };

  const paint = () => charts.forEach((chart) => {
    if (chart.layout) Plotly.relayout(chart, themed(chart.layout));
  });

  const setTheme = (dark) => {
    root.dataset.theme = dark ? "dark" : "light";
    toggle.setAttribute("aria-pressed", String(dark));
    toggle.textContent = dark ? "Light" : "Dark";
    paint();
  };

  charts.forEach((chart) => {
    const { data, layout } = JSON.parse(document.getElementById(chart.dataset.figure).textContent);
    Plotly.newPlot(chart, data, layout, { responsive: true, displayModeBar: false });
  });
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches);
  toggle.addEventListener("click", () => setTheme(root.dataset.theme !== "dark"));

  const compare = (a, b) => {
    const [x, y] = [a, b].map((row) => row.key);
    const [p, q] = [Number(x), Number(y)];
    const numeric = x !== "" && y !== "" && !Number.isNaN(p) && !Number.isNaN(q);
    return numeric ? p - q : x.localeCompare(y);
  };

  document.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
    const head = button.closest("th");
    const place = [...head.parentNode.children].indexOf(head);
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    head.parentNode.querySelectorAll("th").forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, key: row.cells[place].dataset.key }));
    rows.sort((a, b) => (ascending ? compare(a, b) : compare(b, a)));
    body.append(...rows.map(({ row }) => row));
  }));
})();
