"use strict";
// Shows the records: filtered, sorted, a page at a time; and reads charts off. All text is set as text, none as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const PAGE = 20;

  const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
    return element;
  }

  // --- charts ----------------------------------------------------------------------------------------------------

  const LEFT = 46, WIDTH = 262; // as the page's maker has them
  for (const svg of document.querySelectorAll("svg[data-chart]")) {
    const { last, lines } = data.charts[Number(svg.dataset.chart)];
    const reading = svg.parentElement.querySelector(".reading"), cursor = svg.querySelector(".cursor");
    const clear = () => { reading.textContent = ""; cursor.setAttribute("visibility", "hidden"); };
    svg.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect();
      const share = (((event.clientX - frame.left) / frame.width) * 320 - LEFT) / WIDTH;
      const wanted = 1 + Math.min(1, Math.max(0, share)) * (last - 1);
      const found = lines.filter(({ read }) => read.length).map(({ run, read }) => [run, nearest(read, wanted)]);
      if (!found.length) return clear();
      const x = LEFT + (last > 1 ? (found[0][1][0] - 1) / (last - 1) : 0.5) * WIDTH;
      cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); cursor.setAttribute("visibility", "visible");
      reading.replaceChildren(`update ${found[0][1][0].toLocaleString("en")}: `,
        ...found.map(([run, [, value]]) => make("b", { class: `c${run % 8}` }, `${value} `)));
    });
    svg.addEventListener("pointerleave", clear);
  }
  function nearest(read, wanted) {
    let low = 0, high = read.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (read[middle][0] < wanted) low = middle + 1; else high = middle;
    }
    return low && wanted - read[low - 1][0] < read[low][0] - wanted ? read[low - 1] : read[low];
  }

  // --- filters ---------------------------------------------------------------------------------------------------

  const form = document.getElementById("filters");
  if (!form) return;
  const records = data.records;
  records.forEach((record, number) => { record.number = number; });
  const FACETS = [
    ["file", "file", (record) => (data.files.length > 1 ? String(record.file) : ""), (value) => data.files[value]],
    ["result", "result", (record) => record.result],
    ["side", "change", (record) => record.side || ""],
    ["cause", "cause", (record) => record.cause || ""],
    ["expert", "expert", (record) => record.gold_expert || record.expert || ""],
    ["steps", "steps of the gold trace", (record) => record.steps || ""],
    ["numbers", "kind of numbers", (record) => record.numbers || ""],
    ["length", "length", (record) => record.length || ""],
    ["source", "source", (record) => record.source || ""],
  ];
  const RANK = { wrong: 0, loss: 0, "no answer to be right by": 1, right: 2 };
  const SORTS = {
    failures: ["failures first", (a, b) => RANK[a.result] - RANK[b.result]],
    order: ["as in the file", () => 0],
    cause: ["by cause", (a, b) => (a.cause || "~").localeCompare(b.cause || "~")],
    steps: ["most steps", (a, b) => (b.steps || "").localeCompare(a.steps || "")],
    tokens: ["most tokens", (a, b) => b.tokens - a.tokens],
    question: ["longest question", (a, b) => size(b) - size(a)],
    agreement: ["least agreement", (a, b) => (a.agreement ?? 2) - (b.agreement ?? 2)],
    loss: ["highest loss", (a, b) => (b.loss ?? -1) - (a.loss ?? -1)],
  };
  if (!records.some((record) => record.agreement !== undefined)) delete SORTS.agreement;
  if (!records.some((record) => record.loss !== undefined)) delete SORTS.loss;
  const size = (record) => record.question.reduce((sum, [text]) => sum + text.length, 0);
  const words = (record) => (record.words ??= [
    record.id, record.question.map(([text]) => text).join(""), record.answer, record.got, record.cause, record.objection,
    record.output, record.gold].join("\n").toLowerCase());

  const controls = {};
  const shown = { found: [], page: 0 };
  for (const [name, title, of, say] of FACETS) {
    const counts = new Map();
    for (const record of records) if (of(record)) counts.set(of(record), (counts.get(of(record)) || 0) + 1);
    if (counts.size < 2 && !(name === "side" && counts.size)) continue;
    const order = [...counts].sort(name === "steps" || name === "length" || name === "file"
      ? (a, b) => a[0].localeCompare(b[0], "en", { numeric: true }) : (a, b) => b[1] - a[1]);
    const select = make("select", { name }, make("option", { value: "" }, "all"),
      order.map(([value, count]) => make("option", { value }, `${say ? say(value) : value} (${count})`)));
    controls[name] = select;
    form.append(make("label", {}, make("span", {}, title), select));
  }
  controls.sort = make("select", { name: "sort" },
    Object.entries(SORTS).map(([value, [title]]) => make("option", { value }, title)));
  controls.search = make("input", { name: "search", type: "search", autocomplete: "off", placeholder: "in all text" });
  form.append(make("label", {}, make("span", {}, "sort"), controls.sort),
    make("label", { class: "wide" }, make("span", {}, "search"), controls.search),
    make("button", { type: "reset" }, "reset"));

  const chosen = () => Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value])
    .filter(([name, value]) => value && !(name === "sort" && value === "failures")));

  function select() {
    const wanted = chosen(), search = (wanted.search || "").toLowerCase().trim();
    const facets = FACETS.filter(([name]) => wanted[name]);
    shown.found = records.filter((record) => facets.every(([name, , of]) => of(record) === wanted[name])
      && (!search || words(record).includes(search)));
    const compare = SORTS[wanted.sort || "failures"][1];
    shown.found.sort((a, b) => compare(a, b) || a.number - b.number);
    shown.page = 0;
    show();
  }
  function remember() {
    const query = new URLSearchParams(chosen()).toString();
    history.replaceState(null, "", query ? `#records?${query}` : "#records");
  }
  function recall() {
    if (!location.hash.startsWith("#records?")) return false;
    const query = new URLSearchParams(location.hash.slice("#records?".length));
    for (const [name, control] of Object.entries(controls)) {
      const value = query.get(name) || "", options = [...(control.options || [])].map((option) => option.value);
      control.value = !control.options || options.includes(value) ? value : options[0];
    }
    return true;
  }
  const changed = () => { remember(); select(); };
  let waiting;
  form.addEventListener("change", changed);
  form.addEventListener("input", (event) => {
    if (event.target === controls.search) { clearTimeout(waiting); waiting = setTimeout(changed, 120); }
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(changed));
  addEventListener("hashchange", () => {
    if (recall()) { select(); document.getElementById("records").scrollIntoView(); }
  });

  // --- a page of cards -------------------------------------------------------------------------------------------

  function show() {
    const { found, page } = shown, pages = Math.max(1, Math.ceil(found.length / PAGE)), first = page * PAGE;
    document.getElementById("count").textContent = found.length
      ? `${(first + 1).toLocaleString("en")}–${Math.min(first + PAGE, found.length).toLocaleString("en")} of ${
        found.length.toLocaleString("en")}${found.length < records.length ? ` (${records.length.toLocaleString("en")} in all)` : ""}`
      : "no record is so";
    document.getElementById("cards").replaceChildren(...found.slice(first, first + PAGE).map(card));
    const turn = (to, text) => {
      const button = make("button", { type: "button", disabled: to < 0 || to >= pages || to === page }, text);
      button.addEventListener("click", () => {
        shown.page = to; show(); document.getElementById("count").scrollIntoView({ block: "start" });
      });
      return button;
    };
    document.getElementById("pager").replaceChildren(...(pages < 2 ? [] : [turn(0, "first"), turn(page - 1, "previous"),
      make("span", {}, `page ${page + 1} of ${pages}`), turn(page + 1, "next"), turn(pages - 1, "last")]));
  }

  function card(record) {
    const badge = (text, kind) => (text ? make("span", { class: `badge ${kind}` }, text) : null);
    const heading = make("header", {},
      badge(record.result === "right" ? "✓ right" : record.result === "wrong" ? "✗ wrong" : record.result, record.result),
      badge(record.cause, "cause"), badge(record.side, `side-${record.side}`), badge(record.truncated && "cut off", "cut"),
      data.files.length > 1 ? make("span", { class: "file" }, make("span", { class: `swatch s${record.file % 8}` }), data.files[record.file]) : null,
      make("span", { class: "id" }, record.id));
    const question = make("p", { class: "question" }, record.question.map(([text, who]) => (who
      ? make("mark", { class: who, title: `used by ${who === "both" ? "the reply" + (record.gold ? " and the gold trace" : "") : who === "nobody" ? "neither" : who + " alone"}` }, text) : text)));
    return make("article", { class: `card ${record.result === "right" ? "is-right" : ""}` }, heading, question,
      answers(record), record.objection && record.kind !== "wrong_answer" ? make("p", { class: "objection" }, record.objection) : null,
      graphs(record), votes(record), texts(record),
      make("footer", {}, facts(record)));
  }
  function answers(record) {
    if (record.result === "loss") return make("p", { class: "answers" }, "loss of what decides ", make("b", {}, record.loss.toFixed(4)));
    return make("p", { class: "answers" }, "answer ", make("b", {}, record.answer ?? "not known"), ", reply ",
      make("b", {}, record.got ?? "none"));
  }
  function facts(record) {
    const said = [record.expert && `expert ${record.expert}`, record.gold_expert && record.gold_expert !== record.expert && `gold's ${record.gold_expert}`,
      record.steps, record.source, record.tokens && `${record.tokens} tokens, ${record.sampled} sampled`];
    return said.filter(Boolean).join(" · ");
  }
  function votes(record) {
    if (!record.votes && !record.failed) return null;
    const heavy = (weight) => String(Math.round(100 * weight) / 100);
    const all = (record.votes ?? []).map(([answer, count, weight, right]) => make("li", { class: right ? "is-right" : undefined },
      make("b", {}, answer), ` ×${count}`, make("small", {}, ` weight ${heavy(weight)}${right ? ", right" : ""}`)));
    const none = (record.failed ?? []).map(([kind, count]) => make("li", { class: "failed" }, kind.replaceAll("_", " "), ` ×${count}`));
    return make("div", { class: "votes" }, `votes, agreement ${Math.round(100 * (record.agreement ?? 0))}%: `, make("ul", {}, all, none));
  }
  function texts(record) {
    const own = record.output ? record.output.split("\n").map((line, number) =>
      make("span", { class: number === record.fault ? "fault" : undefined }, `${line}\n`)) : null;
    const columns = [own && make("figure", {}, make("figcaption", {}, "reply"), make("pre", {}, own)),
      record.gold && make("figure", {}, make("figcaption", {}, "gold trace"), make("pre", {}, record.gold))].filter(Boolean);
    return columns.length ? make("details", {}, make("summary", {}, record.gold && own ? "reply and gold trace" : own ? "reply" : "gold trace"),
      make("div", { class: "pair" }, columns)) : null;
  }

  // --- computation graphs ----------------------------------------------------------------------------------------

  function graphs(record) {
    const both = [["the reply computes", record.own_graph], ["the gold trace computes", record.gold_graph]];
    const drawn = both.filter(([, graph]) => graph).map(([title, graph]) => make("figure", { class: "graph" },
      make("figcaption", {}, title), graph.large ? make("p", { class: "note" }, `${graph.large} numbers and operations are too many to draw`)
        : make("div", { class: "scroll" }, picture(graph, title))));
    return drawn.length ? make("div", { class: "pair" }, drawn) : null;
  }
  function picture(graph, title) {
    const { width, height, node_height: tall, nodes, lines } = graph;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
      "aria-label": `${title}: ${nodes.filter((node) => !node[5].includes("n")).map((node) => `${node[4]} ${node[3]}`).join("; ")}` });
    for (const [points, leads] of lines) svg.append(draw("path", { class: leads ? "edge" : "edge idle", d: path(points, tall) }));
    for (const [x, y, wide, label, name, flags] of nodes) {
      const kind = ["node", flags.includes("n") && "number", flags.includes("a") && "answer", flags.includes("o") && "other", flags.includes("f") && "follows",
        flags.includes("i") && "idle"].filter(Boolean).join(" ");
      svg.append(draw("g", { class: kind },
        draw("rect", { x: x - wide / 2, y: y - tall / 2, width: wide, height: tall, rx: flags.includes("n") ? tall / 2 : 7 }),
        draw("text", { class: "label", x, y: name ? y - 2 : y + 4, "text-anchor": "middle" }, label),
        name ? draw("text", { class: "name", x, y: y + 13, "text-anchor": "middle" }, name) : null));
    }
    svg.style.minWidth = `${Math.min(width, Math.max(240, 0.7 * width))}px`;
    return svg;
  }
  function path(points, tall) {
    const at = [];
    for (let k = 0; k < points.length; k += 2) at.push([points[k], points[k + 1]]);
    at[0][1] += tall / 2; at[at.length - 1][1] -= tall / 2;
    return at.slice(1).reduce((drawn, [x, y], k) => { // straight down where it passes a row
      const before = at[k][0], top = at[k][1] + (k ? tall / 2 : 0), passes = k < at.length - 2;
      const end = passes ? y - tall / 2 : y, bend = (end - top) / 2;
      return `${drawn}C${before},${top + bend} ${x},${end - bend} ${x},${end}${passes ? `V${y + tall / 2}` : ""}`;
    }, `M${at[0][0]},${at[0][1]}`);
  }

  recall();
  select();
})();
