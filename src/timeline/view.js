// Draws the slices of #data on one canvas. Nothing is fetched.
"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const ROW = 22, NAMES = 190, TOP = 26, N = 8;
const FRAME = 0, HATCHED = 2, STRIP = 3, DIAMOND = 4;
const THREADS = D.parts.indexOf("threads");
const KINDS = D.kinds.map(([label, colour, shape, ink, isTrouble]) => ({ label, colour, shape, ink, isTrouble,
  depth: [0, 1, 1, 2, 3][shape] }));
const el = (tag, into, text) => {
  const it = document.createElement(tag);
  if (text !== undefined) it.textContent = text;
  return into.appendChild(it);
};
const slice = i => {
  const [row, kind, start, length, open, attempt, name, text] = D.slices.slice(i * N, i * N + N);
  return { row, kind: KINDS[kind], start, end: start + length, length, open, attempt,
    name: D.strings[name], text: D.strings[text] };
};
const kindOf = i => KINDS[D.slices[i * N + 1]], startOf = i => D.slices[i * N + 2], endOf = i => startOf(i) + D.slices[i * N + 3];
const count = D.slices.length / N;
const span = ns => ns >= 1e9 ? +(ns / 1e9).toFixed(3) + " s" : ns >= 1e6 ? +(ns / 1e6).toFixed(3) + " ms"
  : +(ns / 1e3).toFixed(3) + " µs";
const clock = ns => ((ns + D.from) / 1e9).toFixed(6) + " s";

// Where each row begins among the slices, and which part it is in.
const first = new Array(D.rows.length + 1).fill(count);
for (let i = count - 1; i >= 0; i--) first[D.slices[i * N]] = i;
for (let r = D.rows.length - 1; r >= 0; r--) first[r] = Math.min(first[r], first[r + 1]);

// The page: a head, the view, and a list of what went wrong.
const head = el("header", document.body);
el("h1", head, "Timeline");
const missing = D.evicted + D.lost;
el("span", head, `${count} slices in ${span(D.to - D.from)}` + (missing ?
  `; missing: ${D.evicted} older spans, ${D.lost} lost events` : ""));
const filter = el("input", head);
filter.placeholder = "filter by name ( / )";
el("span", head, "wheel: zoom, shift + wheel: scroll, drag: move, + − 0: zoom, click on a slice: zoom to it");
const legend = el("div", head);
legend.id = "legend";
const main = el("div", document.body);
main.id = "main";
const view = el("div", main);
view.id = "view";
const canvas = el("canvas", view), g = canvas.getContext("2d");
const tip = el("div", document.body);
tip.id = "tip";

const used = new Set();
const trouble = [];
for (let i = 0; i < count; i++) {
  const kind = kindOf(i);
  used.add(kind);
  // An attempt stands in the row of its task and in that of its thread, and an abandoned one in a row of its own.
  if (kind.isTrouble && D.rows[D.slices[i * N]][0] !== THREADS && kind.label !== "abandoned") trouble.push(i);
}
KINDS.filter(kind => used.has(kind)).forEach(kind => {
  const it = el("span", legend), box = el("i", it);
  box.style.background = kind.shape === HATCHED
    ? "repeating-linear-gradient(45deg,#222 0 2px,#ddd 2px 4px)" : kind.colour;
  it.append(kind.label);
});
if (trouble.length) {
  const aside = el("aside", main);
  el("h2", aside, `What went wrong (${trouble.length})`);
  // An attempt fails when it ends, and a thread is stuck from its abandonment on.
  const since = i => kindOf(i).shape === HATCHED ? startOf(i) : endOf(i);
  trouble.sort((a, b) => since(a) - since(b) || kindOf(b).depth - kindOf(a).depth).slice(0, 500).forEach(i => {
    const it = slice(i), p = el("p", aside, `${clock(since(i))} ${say(it)}`);
    p.style.borderColor = it.kind.colour;
    p.onclick = () => zoomTo(it);
  });
}

let from = 0, to = Math.max(1, D.to - D.from), scroll = 0, rows = [], width = 0, height = 0;
const all = [from, to];

function say(it) {
  const isSaid = it.kind.shape === DIAMOND || it.kind.shape === FRAME && it.text;
  if (isSaid) return (it.name ? it.name + " " : "") + it.text;
  const who = it.name ? it.name + (it.attempt ? ` attempt ${it.attempt}` : "") + ": " : "";
  const until = it.kind.shape === HATCHED && !it.open ? `, until ${clock(it.end)}` : "";
  return who + it.kind.label + until + (it.text ? `: ${it.text}` : "");
}

// The rows that are shown, with their places; a part begins with its name.
function arrange() {
  const words = filter.value.toLowerCase();
  rows = [];
  let y = 0, part = -1;
  D.rows.forEach(([of, name], row) => {
    let hit = !words || name.toLowerCase().includes(words);
    for (let i = first[row]; !hit && i < first[row + 1]; i++) {
      hit = D.strings[D.slices[i * N + 6]].toLowerCase().includes(words);
    }
    if (!hit) return;
    if (of !== part) {
      part = of;
      rows.push({ y: y + 4, label: D.parts[of] });
      y += 20;
    }
    rows.push({ y, row, label: name, part: of });
    y += ROW;
  });
  rows.height = y;
}

const x = at => NAMES + (at - from) / (to - from) * (width - NAMES);
const at = x => from + (x - NAMES) / (width - NAMES) * (to - from);

const hatch = (() => {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const t = tile.getContext("2d");
  t.fillStyle = "#222"; t.fillRect(0, 0, 6, 6);
  t.strokeStyle = "#ddd"; t.lineWidth = 1.5;
  t.beginPath(); t.moveTo(-1, 7); t.lineTo(7, -1); t.stroke();
  return g.createPattern(tile, "repeat");
})();

function draw() {
  const dots = window.devicePixelRatio || 1;
  [width, height] = [view.clientWidth, view.clientHeight];
  canvas.width = width * dots; canvas.height = height * dots;
  canvas.style.width = width + "px"; canvas.style.height = height + "px";
  g.setTransform(dots, 0, 0, dots, 0, 0);
  g.font = "11px sans-serif"; g.textBaseline = "middle";
  g.fillStyle = "#fff"; g.fillRect(0, 0, width, height);
  scroll = Math.max(0, Math.min(scroll, rows.height - height + TOP + 10));
  for (const row of rows) {
    const y = row.y + TOP - scroll;
    if (y < TOP - ROW || y > height) continue;
    if (row.row === undefined) {
      g.fillStyle = "#e9edf3"; g.fillRect(0, y - 2, width, 16);
      g.fillStyle = "#456"; g.font = "bold 11px sans-serif"; g.fillText(row.label, 6, y + 6); g.font = "11px sans-serif";
    } else drawRow(row, y);
  }
  drawNames();
  drawAxis();
}

function drawRow(row, y) {
  // Of what is narrower than a pixel, the first is drawn there, and the first trouble.
  const last = [-1, -1, -1, -1], lastTrouble = [-1, -1, -1, -1], above = [];
  g.save();
  g.beginPath(); g.rect(NAMES, TOP, width - NAMES, height); g.clip();
  for (let i = first[row.row]; i < first[row.row + 1]; i++) {
    const start = startOf(i), end = endOf(i), kind = kindOf(i);
    if (start > to) break;
    if (end < from) continue;
    const left = Math.max(x(start), NAMES - 1), w = Math.max(1, Math.min(x(end), width + 1) - left);
    const seen = kind.isTrouble ? lastTrouble : last;
    if (w <= 1 && (left | 0) === seen[kind.depth]) continue;
    seen[kind.depth] = left | 0;
    if (w < 3 && kind.isTrouble && kind.shape !== DIAMOND) { above.push([left, kind]); continue; }
    g.fillStyle = kind.shape === HATCHED ? hatch : kind.colour;
    if (kind.shape === DIAMOND) {
      g.beginPath(); g.moveTo(left, y); g.lineTo(left + 4, y + 4); g.lineTo(left, y + 8); g.lineTo(left - 4, y + 4);
      g.fill();
      continue;
    }
    const [top, tall] = kind.shape === FRAME ? [0, 20] : kind.shape === STRIP ? [13, 4] : [3, 14];
    g.fillRect(left, y + top, w, tall);
    if (kind.isTrouble) g.strokeRect(left, y + top, w, tall);
    if (w > 12 && kind.depth === 1) write(slice(i), row, left, y, w);
    // A later task in this row is drawn above it.
    if (kind.shape === FRAME && kind.isTrouble) { g.fillStyle = "#a11"; g.fillText(slice(i).text, x(end) + 4, y + 10.5); }
  }
  for (const [left, kind] of above) { g.fillStyle = kind.colour; g.fillRect(left - 1, y + 2, 3, 16); }
  g.restore();
}

// What the names of the part and the row do not say, in so many characters.
function said(it, row, room) {
  const name = it.name.replace(/#\d+$/, ""), who = name === row.label ? "" : name + " ";
  const text = row.part === THREADS ? "" : it.text, label = it.kind.label, what = label + (text ? ": " + text : "");
  const most = who + (it.attempt ? `attempt ${it.attempt} ` : "") + what;
  if (most.length <= room) return most;
  const least = `${who}${it.attempt} `;
  const less = !it.attempt ? who + (text || label) : (least + label).length <= room ? least + what : who || "" + it.attempt;
  return less.length <= room ? less : room > 3 ? less.slice(0, room - 1) + "…" : "";
}

function write(it, row, left, y, w) {
  const text = said(it, row, Math.floor((w - 6) / 5.9));
  if (it.kind.shape === HATCHED) { g.fillStyle = "#222"; g.fillRect(left + 2, y + 4, Math.min(w - 4, text.length * 6), 12); }
  g.fillStyle = it.kind.ink;
  g.fillText(text, left + 4, y + 10.5);
}

function drawNames() {
  g.fillStyle = "#fff"; g.fillRect(0, TOP, NAMES, height);
  g.save(); g.beginPath(); g.rect(0, TOP, width, height); g.clip();
  for (const row of rows) {
    const y = row.y + TOP - scroll;
    if (y < TOP - ROW || y > height) continue;
    const isPart = row.row === undefined;
    if (isPart) { g.fillStyle = "#e9edf3"; g.fillRect(0, y - 2, NAMES, 16); }
    g.fillStyle = isPart ? "#456" : "#222";
    g.font = (isPart ? "bold " : "") + "11px sans-serif";
    const label = row.label.length > 32 ? row.label.slice(0, 31) + "…" : row.label;
    g.fillText(label, isPart ? 6 : 12, y + (isPart ? 6 : 10.5));
    if (!isPart) { g.fillStyle = "#eef0f4"; g.fillRect(0, y + ROW - 1, width, 0.5); }
  }
  g.restore();
}

function drawAxis() {
  g.fillStyle = "#fff"; g.fillRect(0, 0, width, TOP - 2);
  const least = (to - from) / ((width - NAMES) / 110);
  let step = 10 ** Math.floor(Math.log10(least));
  step *= [1, 2, 5, 10].find(n => n * step >= least);
  for (let t = Math.ceil((from + D.from) / step) * step - D.from; t <= to; t += step) {
    g.fillStyle = "#0001"; g.fillRect(x(t), TOP - 6, 1, height);
    g.fillStyle = "#555"; g.fillText(span(Math.round(t + D.from)), x(t) + 3, 11);
  }
}

function zoom(around, factor) {
  const length = Math.min(all[1] * 1.1, Math.max(100, (to - from) * factor));
  from = around - (around - from) / (to - from) * length;
  to = from + length;
  ask();
}
function zoomTo(it) {
  const room = Math.max(it.length, 1e4);
  [from, to] = [it.start - room * 0.6, it.end + room * 0.6];
  const place = rows.find(row => row.row === it.row);
  if (place) scroll = place.y - height / 3;
  ask();
}
let asked = false;
function ask() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

// What lies under the pointer: the innermost, and what is too narrow to hit if it is near.
function find(e) {
  const box = canvas.getBoundingClientRect(), px = e.clientX - box.left, py = e.clientY - box.top - TOP + scroll;
  if (px < NAMES) return null;
  const row = rows.find(row => row.row !== undefined && py >= row.y && py < row.y + ROW);
  if (!row) return null;
  let best = null;
  const near = (to - from) / (width - NAMES) * 3, t = at(px);
  for (let i = first[row.row]; i < first[row.row + 1]; i++) {
    if (startOf(i) - near > t) break;
    if (endOf(i) + near < t) continue;
    if (best === null || kindOf(i).depth >= kindOf(best).depth) best = i;
  }
  return best === null ? null : slice(best);
}

let drag = null;
canvas.onmousedown = e => { drag = { x: e.clientX, y: e.clientY, from, to, scroll, moved: false }; };
window.onmouseup = e => {
  if (drag && !drag.moved) { const it = find(e); if (it) zoomTo(it); }
  drag = null;
};
window.onmousemove = e => {
  if (drag) {
    const dx = e.clientX - drag.x, dy = e.clientY - drag.y;
    drag.moved = drag.moved || Math.abs(dx) + Math.abs(dy) > 3;
    const ns = dx / (width - NAMES) * (drag.to - drag.from);
    [from, to, scroll] = [drag.from - ns, drag.to - ns, drag.scroll - dy];
    ask();
  }
  const it = e.target === canvas && !drag ? find(e) : null;
  tip.style.display = it ? "block" : "none";
  if (!it) return;
  tip.textContent = `${say(it)}\n${it.kind.shape === DIAMOND ? "" : `took ${span(it.length)}${it.open ? " so far" : ""}, `}` +
    `from ${clock(it.start)} to ${it.open ? "now" : clock(it.end)}`;
  tip.style.left = Math.min(e.clientX + 12, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = Math.min(e.clientY + 12, innerHeight - tip.offsetHeight - 8) + "px";
};
canvas.onwheel = e => {
  e.preventDefault();
  if (e.shiftKey || e.clientX - canvas.getBoundingClientRect().left < NAMES) { scroll += e.deltaY || e.deltaX; ask(); }
  else zoom(at(e.clientX - canvas.getBoundingClientRect().left), Math.exp(e.deltaY / 400));
};
window.onkeydown = e => {
  if (e.target === filter) { if (e.key === "Escape") { filter.value = ""; filter.blur(); filter.oninput(); } return; }
  if (e.key === "/") { filter.focus(); e.preventDefault(); }
  if (e.key === "0") { [from, to] = all; scroll = 0; ask(); }
  if (e.key === "+") zoom((from + to) / 2, 0.5);
  if (e.key === "-") zoom((from + to) / 2, 2);
};
filter.oninput = () => { arrange(); ask(); };
window.onresize = ask;
arrange();
draw();
