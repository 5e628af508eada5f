"use strict";
// Draws what study/report_data.py decided. Text from the capture enters the page by textContent only.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const whole = new Intl.NumberFormat("en");
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  };
  const bytes = (n) => {
    const sign = n < 0 ? "-" : "";
    n = Math.abs(n);
    for (const unit of ["B", "kB", "MB", "GB"]) {
      if (n < 1000) return sign + (n < 10 && unit !== "B" ? n.toFixed(n % 1 ? 2 : 0) : +n.toPrecision(4)) + " " + unit;
      n /= 1000;
    }
    return sign + n.toPrecision(4) + " TB";
  };
  const many = (n, what) => whole.format(n) + " " + what + (n === 1 ? "" : "s");
  const seconds = (s) => {
    const size = Math.abs(s);
    if (size >= 1 || size === 0) return +s.toFixed(3) + " s";
    return size >= 1e-3 ? +(s * 1e3).toFixed(3) + " ms" : +(s * 1e6).toFixed(3) + " \u00b5s";
  };
  // Ticks that are close together need their digits.
  const axis = (unit) => (u, ticks) => {
    const scale = u.scales[unit === "B" ? "y" : "x"], step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : (scale.max - scale.min) / 10;
    const k = unit === "s" ? 1 : Math.max(...ticks.map(Math.abs)) >= 1e6 ? 1e6 : 1e3;
    let digits = 0;
    while (digits < 9 && Math.abs((step / k) * 10 ** digits - Math.round((step / k) * 10 ** digits)) > 1e-6) digits++;
    return ticks.map((n) => n < 0 ? "" : (n / k).toFixed(digits) + (unit === "s" ? " s" : k === 1e6 ? " MB" : " kB"));
  };
  const plots = [];
  const watch = (plot, box) => {
    plots.push(plot);
    new ResizeObserver(() => {
      const width = Math.max(260, box.clientWidth - 8);
      if (width !== plot.width) plot.setSize({ width, height: plot.height });
    }).observe(box);
    return plot;
  };
  const redraw = () => plots.forEach((plot) => plot.redraw(false, true));
  const axes = (x, y) => [
    { stroke: () => css("muted"), grid: { stroke: () => css("line"), width: 1 }, ticks: { stroke: () => css("line") },
      values: axis("s"), space: 70, label: x, labelSize: 18, size: 34, labelGap: 0 },
    { stroke: () => css("muted"), grid: { stroke: () => css("line"), width: 1 }, ticks: { stroke: () => css("line") },
      values: axis("B"), size: 82, label: y, labelSize: 18 },
  ];

  // Theme: the system's, or what was chosen; on paper always light.
  const themes = ["auto", "light", "dark"];
  let theme = 0;
  $("theme").addEventListener("click", () => {
    theme = (theme + 1) % 3;
    if (theme) document.documentElement.dataset.theme = themes[theme];
    else delete document.documentElement.dataset.theme;
    $("theme").textContent = "theme: " + themes[theme];
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", redraw);
  addEventListener("beforeprint", () => { document.documentElement.dataset.theme = "light"; redraw(); });
  addEventListener("afterprint", () => {
    if (theme) document.documentElement.dataset.theme = themes[theme]; else delete document.documentElement.dataset.theme;
    redraw();
  });

  // Shares over time: the classes stacked, the largest sum painted first.
  (() => {
    const box = $("shares"), { seconds: times, bytes: octets } = data.shares;
    const names = data.classes.filter((name) => octets[name]);
    if (!times.length || !names.length) return;
    const xs = times.length > 1 ? times : [times[0], times[0] + 1e-9];
    const sums = [];
    names.forEach((name, n) => sums.push(xs.map((_, i) => (octets[name][i] || 0) + (n ? sums[n - 1][i] : 0))));
    const order = names.map((_, n) => names.length - 1 - n);
    const series = order.map((n) => ({
      label: names[n], stroke: () => css(names[n]), fill: () => css(names[n]), width: 1, points: { show: false },
      paths: uPlot.paths.stepped({ align: 1 }),
      value: (u, v, s, i) => i === null ? "" : bytes(octets[names[n]][i] || 0),
    }));
    watch(new uPlot({
      width: Math.max(260, box.clientWidth - 8), height: 210, cursor: { drag: { x: true, y: false } },
      scales: { x: { time: false }, y: { range: (u, min, max) => [0, max || 1] } },
      axes: axes("capture time", "per slot"), legend: { live: true },
      series: [{ label: "time", value: (u, v) => v === null ? "" : seconds(v) }, ...series],
    }, [xs, ...order.map((n) => sums[n])], box), box);
  })();

  // The time-sequence view of one direction.
  const verdicts = [...data.verdicts, "several"];
  const said = {
    decrypted: "decrypted by the NIC", passed: "passed, place kept", searching: "out of sync: searching",
    tracking: "out of sync: tracking", stopped: "NIC gave up", other_leaf: "other interface",
    no_receive_tag: "no receive tag", empty: "no payload", several: "several verdicts",
  };
  const shapes = {
    lost: "cross", anchored: "diamond", false_anchor: "kite", query: "ring", answer: "dot", guess: "star", confirm: "peak",
    confirmed: "up", stale_confirm: "down", set_position: "left", resumed: "play", install: "box", installed: "square",
    release: "slashed", reset: "flag", reset_failed: "struck", auth_failed: "plus", stopped: "bar",
  };  // what is asked for is hollow, what has come to be is filled; no two share a sign
  const inks = {
    lost: "hole", auth_failed: "hole", stopped: "hole", false_anchor: "hole", stale_confirm: "hole", anchored: "tracking",
    resumed: "decrypted", confirmed: "decrypted", confirm: "several", set_position: "several", reset: "other_leaf",
    reset_failed: "hole",
  };
  const sumUp = (steps) => { let at = 0; return Float64Array.from(steps, (step) => (at += step)); };
  const unpack = (columns) => {
    if (!columns) return null;
    const start = sumUp(columns.start), low = sumUp(columns.low), frame = sumUp(columns.frame);
    return {
      n: start.length, start: start.map((t) => t / 1e9), low, frame, colour: columns.colour,
      end: start.map((t, i) => (t + columns.time[i]) / 1e9), high: low.map((b, i) => b + columns.length[i]),
      frames: columns.frames, count: columns.count, number: columns.number, to: columns.to, of: columns.of,
    };
  };
  // In a box of 11 by 11. Hollow ones are outlines.
  const paths = {
    cross: "M1 1L10 10M10 1L1 10", plus: "M5.5 0V11M0 5.5H11", bar: "M0 3.5h11v4H0z",
    diamond: "M5.5 0L11 5.5 5.5 11 0 5.5z", kite: "M5.5 1L10 5.5 5.5 10 1 5.5zM1 5.5H10", dot: "M5.5 2.2a3.3 3.3 0 1 0 .01 0z",
    ring: "M5.5 1.5a4 4 0 1 0 .01 0z", star: "M5.5 0L7 4 11 4.2 7.9 6.8 9 11 5.5 8.6 2 11 3.1 6.8 0 4.2 4 4z",
    up: "M5.5 1L11 10H0z", peak: "M5.5 2L10 9.5H1z", down: "M5.5 10L11 1H0z", left: "M10 0L0 5.5 10 11z", play: "M1 0L11 5.5 1 11z",
    flag: "M2 11V0l8 3-8 3z", struck: "M2 11V1l7 2.5-7 2.5M1 10L10 1", square: "M1 1h9v9H1z", box: "M1.5 1.5h8v8h-8z",
    slashed: "M1.5 1.5h8v8h-8zM1.5 9.5L9.5 1.5",
  };
  const hollow = new Set(["cross", "plus", "kite", "ring", "peak", "struck", "box", "slashed"]);
  const glyph = (ctx, shape, x, y, r) => {
    const scale = (2 * r) / 11;
    ctx.save();
    ctx.translate(x - r, y - r); ctx.scale(scale, scale); ctx.lineWidth /= scale;
    const path = new Path2D(paths[shape]);
    if (!hollow.has(shape)) ctx.fill(path);
    ctx.stroke(path);
    ctx.restore();
  };

  let view = null, plot = null, hidden = new Set(), events = [], at = -1;
  const select = $("flow"), box = $("sequence"), readout = $("readout");
  const named = (v) => {
    const [from, to] = v.receiver === "server" ? [v.client, v.server] : [v.server, v.client];
    const lost = v.direction.resync.lost;
    return `flow ${v.flow}: ${from} \u2192 ${to}` + (v.sni ? ` (${v.sni})` : "") + `, ${bytes(v.direction.app_bytes)}`
      + (lost ? `, lost sync ${lost}\u00d7` : "") + (v.direction.gap ? ", gap" : "");
  };
  data.views.forEach((v, n) => select.append(make("option", { value: n }, named(v))));

  const span = (v) => {
    let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
    for (const p of [v.pieces, v.whole]) if (p) for (let i = 0; i < p.n; i++) {
      x0 = Math.min(x0, p.start[i]); x1 = Math.max(x1, p.end[i]); y0 = Math.min(y0, p.low[i]); y1 = Math.max(y1, p.high[i]);
    }
    if (!(x1 >= x0)) [x0, x1, y0, y1] = [0, 1, 0, 1];
    const dx = (x1 - x0) * 0.02 || 1e-4, dy = (y1 - y0) * 0.03 || 100;
    return [x0 - dx, x1 + dx, y0 - dy, y1 + dy];
  };
  // Never beyond what there is to see.
  const within = (low, high, least, most) => {
    const size = Math.min(high - low, most - least), from = Math.min(Math.max(low, least), most - size);
    return [from, from + size];
  };
  const zoom = ([left, right, bottom, top]) => plot.batch(() => {
    const [x0, x1] = within(left, right, view.span[0], view.span[1]), [y0, y1] = within(bottom, top, view.span[2], view.span[3]);
    plot.setScale("x", { min: x0, max: x1 }); plot.setScale("y", { min: y0, max: y1 });
  });
  const shown = () => [plot.scales.x.min, plot.scales.x.max, plot.scales.y.min, plot.scales.y.max];
  const scaled = (factor, fx = 0.5, fy = 0.5) => {
    const [x0, x1, y0, y1] = shown(), dx = x1 - x0, dy = y1 - y0;
    if (factor < 1 && (dx < 2e-8 || dy < 4)) return;
    zoom([x0 + dx * fx * (1 - factor), x1 - dx * (1 - fx) * (1 - factor), y0 + dy * fy * (1 - factor), y1 - dy * (1 - fy) * (1 - factor)]);
  };
  const panned = (px, py) => {
    const [x0, x1, y0, y1] = shown(), dx = (x1 - x0) * px, dy = (y1 - y0) * py;
    zoom([x0 + dx, x1 + dx, y0 + dy, y1 + dy]);
  };

  const draw = (u) => {
    const { ctx, bbox } = u, dpr = devicePixelRatio || 1, [x0, x1, y0, y1] = shown();
    const kx = bbox.width / (x1 - x0), ky = bbox.height / (y1 - y0);
    const X = (t) => bbox.left + (t - x0) * kx, Y = (b) => bbox.top + bbox.height - (b - y0) * ky;
    ctx.save();
    ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
    const colours = Object.fromEntries([...verdicts, ...data.classes, "hole", "line", "event", "several", "other_leaf", "tracking", "paper"].map((n) => [n, css(n)]));
    // Records: a strip at the left, and their boundaries where there is room for them.
    const whole_ = view.whole, strip = 9 * dpr;
    if (whole_) {
      ctx.lineWidth = dpr * 0.75; ctx.strokeStyle = colours.line;
      let last = Infinity;
      for (let i = 0; i < whole_.n; i++) {
        if (whole_.high[i] < y0 || whole_.low[i] > y1) continue;
        const top = Y(whole_.high[i]), bottom = Y(whole_.low[i]);
        if (!whole_.count && bottom - top > 7 * dpr && Math.abs(bottom - last) > 5 * dpr) {
          last = bottom; ctx.beginPath(); ctx.moveTo(bbox.left, bottom); ctx.lineTo(bbox.left + bbox.width, bottom); ctx.stroke();
        }
        ctx.fillStyle = colours[data.classes[whole_.colour[i]]];
        ctx.fillRect(bbox.left, top, strip, Math.max(bottom - top - (bottom - top > 4 * dpr ? dpr : 0), dpr * 0.75));
        if (!view.pieces) {
          const left = X(whole_.start[i]), right = X(whole_.end[i]);
          ctx.fillRect(left - dpr, top, Math.max(2 * dpr, right - left), Math.max(bottom - top, 2 * dpr));
        }
      }
    }
    // Holes: what was missing, from when it was found missing until it came.
    if (view.gone && !hidden.has("hole")) {
      ctx.fillStyle = colours.hole;
      for (const hole of view.gone) {
        if (hole.start > x1 || hole.until < x0 || hole.low + hole.length < y0 || hole.low > y1) continue;
        const left = X(hole.start), right = Math.min(X(hole.until), bbox.left + bbox.width);
        const top = Y(hole.low + hole.length), height = Math.max(Y(hole.low) - top, 1.5 * dpr);
        ctx.globalAlpha = 0.22; ctx.fillRect(left, top, Math.max(right - left, dpr), height);
        ctx.globalAlpha = 1; ctx.fillRect(left - dpr, top, 2 * dpr, height);
      }
    }
    const pieces = view.pieces;
    if (pieces) for (let i = 0; i < pieces.n; i++) {
      if (pieces.start[i] > x1) break;
      if (pieces.end[i] < x0 || pieces.high[i] < y0 || pieces.low[i] > y1) continue;
      const name = verdicts[pieces.colour[i] >> 1], late = pieces.colour[i] & 1;
      if (hidden.has(name) || (late && hidden.has("late"))) continue;
      const left = X(pieces.start[i]), right = X(pieces.end[i]), top = Y(pieces.high[i]), bottom = Y(pieces.low[i]);
      ctx.fillStyle = ctx.strokeStyle = colours[name];
      const single = !pieces.count || pieces.count[i] === 1;
      if (single) ctx.fillRect(left - 1.25 * dpr, top, 2.5 * dpr, Math.max(bottom - top - (bottom - top > 4 * dpr ? dpr : 0), 2 * dpr));
      else { ctx.lineWidth = 3 * dpr; ctx.beginPath(); ctx.moveTo(left, bottom); ctx.lineTo(Math.max(right, left + dpr), top); ctx.stroke(); }
      if (late && bottom - top < 14 * dpr) {
        ctx.lineWidth = 1.25 * dpr; ctx.beginPath(); ctx.arc(left, (top + bottom) / 2, 4 * dpr, 0, 7); ctx.stroke();
      }
    }
    if (!hidden.has("events")) for (const event of view.happened) {
      if (event.time < x0 || event.time > x1) continue;
      // What is about no place stands at the lower edge.
      const y = event.offset === null ? bbox.top + bbox.height - 7 * dpr : Math.min(Math.max(Y(event.offset), bbox.top + 6 * dpr), bbox.top + bbox.height - 7 * dpr);
      ctx.fillStyle = colours[inks[event.what]] || colours.event; ctx.strokeStyle = hollow.has(shapes[event.what]) ? ctx.fillStyle : colours.paper;
      ctx.lineWidth = (hollow.has(shapes[event.what]) ? 2 : 1) * dpr;
      glyph(ctx, shapes[event.what] || "dot", X(event.time), y, 5 * dpr);
    }
    ctx.restore();
  };

  const numbers = (pieces, i, first, last) => pieces[last] && pieces[last][i] !== pieces[first][i] ? `${pieces[first][i]} to ${pieces[last][i]}` : `${pieces[first][i]}`;
  const record = (offset) => {
    const p = view.whole;
    if (!p) return "";
    for (let i = 0; i < p.n; i++) if (p.low[i] <= offset && offset < p.high[i]) {
      const which = p.number[i] < 0 ? "a record without number" : `record ${numbers(p, i, "number", "to")}`;
      return `${which}: ${data.classes[p.colour[i]]}, complete with frame ${p.frame[i] + p.frames[i]}`;
    }
    return "";
  };
  const spelt = (event) => `${event.what.replace("_", " ")} at frame ${event.frame}, ${seconds(event.time)}`
    + (event.offset === null ? "" : `, byte ${whole.format(event.offset)}`) + (event.number === null ? "" : `, record ${event.number}`) + (event.note ? `, ${event.note}` : "");
  const hover = (u) => {
    const { left, top } = u.cursor;
    if (left === null || left === undefined || left < 0) return;
    const t = u.posToVal(left, "x"), b = u.posToVal(top, "y"), [x0, x1, y0, y1] = shown();
    const kx = u.over.clientWidth / (x1 - x0), ky = u.over.clientHeight / (y1 - y0);
    let best = 26, found = -1;
    const p = view.pieces || view.whole;
    if (p) for (let i = 0; i < p.n; i++) {
      if ((p.start[i] - t) * kx > 26) break;
      const dx = Math.max(p.start[i] - t, t - p.end[i], 0) * kx, dy = Math.max(p.low[i] - b, b - p.high[i], 0) * ky;
      const far = Math.hypot(dx, dy);
      if (far < best) { best = far; found = i; }
    }
    const lines = [];
    const near = hidden.has("events") ? [] : view.happened.filter((e) => Math.abs(e.time - t) * kx < 7
      && Math.abs((e.offset === null ? y0 : Math.min(Math.max(e.offset, y0), y1)) - b) * ky < 12);
    near.slice(0, 3).forEach((e) => lines.push(spelt(e)));
    if (found >= 0 && view.pieces) {
      const name = verdicts[p.colour[found] >> 1], frames = p.frames[found] ? `${p.frame[found]} to ${p.frame[found] + p.frames[found]}` : p.frame[found];
      const n = p.count ? p.count[found] : 1;
      lines.push((n > 1 ? `${n} segments, frames ${frames}` : `frame ${frames}`) + `, ${seconds(p.start[found])}: bytes ${whole.format(p.low[found])} to ${whole.format(p.high[found])}, `
        + said[name] + (p.colour[found] & 1 ? " (late: retransmitted or reordered)" : ""));
      const inside = Math.min(Math.max(b, p.low[found]), p.high[found] - 1);
      if (record(inside)) lines.push(record(inside));
    } else if (record(b)) lines.push(record(b));
    say(lines.length ? lines : [`${seconds(t)}, byte ${whole.format(Math.round(b))}`]);
  };
  const say = (lines) => readout.replaceChildren(...lines.flatMap((line, n) => n ? [make("br"), line] : [line]));

  const step = (by) => {
    if (!events.length) return;
    at = (at + by + events.length) % events.length;
    const event = events[at], [x0, x1, y0, y1] = shown(), full = view.span;
    const dx = Math.min(x1 - x0, (full[1] - full[0]) / 8) / 2, dy = Math.min(y1 - y0, (full[3] - full[2]) / 8) / 2;
    const y = event.offset === null ? (y0 + y1) / 2 : event.offset;
    zoom([event.time - dx, event.time + dx, y - dy, y + dy]);
    say([`${at + 1} of ${events.length}: ${spelt(event)}`]);
  };

  const drawn = (path, colour, outline = false) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
    for (const [name, value] of [["width", 11], ["height", 11], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
    shape.setAttribute("d", path);
    shape.style[outline ? "stroke" : "fill"] = `var(--${colour})`;
    if (outline) { shape.style.strokeWidth = 2; shape.style.fill = "none"; }
    svg.append(shape);
    return svg;
  };
  const legend = () => {
    const used = new Set(view.pieces ? Array.from(view.pieces.colour, (c) => verdicts[c >> 1]) : []);
    const entries = [...verdicts.filter((name) => used.has(name)).map((name) => [name, name, said[name]])];
    if (view.late) entries.push(["late", "muted", `${whole.format(view.late)} late: retransmitted or reordered (ringed)`]);
    if (view.gone && view.gone.length) entries.push(["hole", "hole", "missing bytes, until they came"]);
    entries.push(["events", null, "events:"]);
    $("legend").replaceChildren(...entries.map(([key, colour, text]) => {
      return make("label", {}, make("input", { type: "checkbox", checked: !hidden.has(key), onchange: (e) => {
        if (e.target.checked) hidden.delete(key); else hidden.add(key);
        plot.redraw(false);
      } }), ...(colour ? [drawn("M0 0h11v11H0z", colour)] : []), text);
    }), ...[...new Set(events.map((event) => event.what))].map((what) => make("span", {},
      drawn(paths[shapes[what] || "dot"], inks[what] || "event", hollow.has(shapes[what])), what.replace(/_/g, " "))));
  };

  const list = () => {
    const rows = events.map((event, n) => make("tr", {},
      make("td", {}, make("button", { onclick: () => { at = n - 1; step(1); box.scrollIntoView({ block: "nearest" }); } }, event.what.replace("_", " ")), event.note ? ` ${event.note}` : ""),
      make("td", { class: "n" }, String(event.frame)), make("td", { class: "n" }, seconds(event.time)),
      make("td", { class: "n" }, event.offset === null ? "" : whole.format(event.offset)), make("td", { class: "n" }, event.number === null ? "" : String(event.number))));
    $("events").replaceChildren(...rows);
    const of = view.events.of;
    $("events-said").textContent = of === events.length ? many(of, "event") : `${whole.format(events.length)} of ${many(of, "event")}`;
    const flat = [], dig = (prefix, object) => Object.entries(object).forEach(([key, value]) => {
      if (value !== null && typeof value === "object") dig(prefix + key + " ", value);
      else flat.push([prefix + key.replace(/_/g, " "), typeof value === "number" ? whole.format(value) : String(value)]);
    });
    dig("", view.direction);
    $("direction").replaceChildren(...flat.map(([key, value]) => make("tr", {}, make("td", {}, key), make("td", { class: "wrap" }, value))));
  };

  const open = (n) => {
    view = data.views[n]; select.value = n; at = -1;
    if (!view.happened) {
      view.pieces = unpack(view.segments); view.whole = unpack(view.records);
      view.happened = view.events.rows.map(([time, what, offset, number, frame, note]) => ({ time: time / 1e9, what, offset, number, frame, note }));
      view.span = span(view);
      if (view.holes) {
        const start = sumUp(view.holes.start), low = sumUp(view.holes.low);
        view.gone = Array.from(start, (t, i) => ({ start: t / 1e9, until: view.holes.until[i] < 0 ? Infinity : view.holes.until[i] / 1e9, low: low[i], length: view.holes.length[i] }));
      }
    }
    events = view.happened;
    if (plot) { plots.splice(plots.indexOf(plot), 1); plot.destroy(); }
    const [x0, x1, y0, y1] = view.span;
    plot = watch(new uPlot({
      width: Math.max(260, box.clientWidth - 8), height: Math.max(300, Math.min(560, innerHeight * 0.62)),
      cursor: { drag: { x: true, y: true, uni: 24, setScale: true }, points: { show: false },
        bind: { dblclick: () => () => { zoom(view.span); return null; } } },
      scales: { x: { time: false, auto: false, min: x0, max: x1 }, y: { auto: false, min: y0, max: y1 } },
      axes: axes("capture time", "place in the stream"), legend: { show: false },
      series: [{}, { show: true, paths: () => null, points: { show: false } }],
      hooks: { draw: [draw], setCursor: [hover] },
    }, [[x0, x1], [y0, y1]], box), box);
    zoom(view.span);
    const thin = [];
    if (view.pieces && view.pieces.count) thin.push(`${many(view.pieces.of, "segment")} in ${many(view.pieces.n, "piece")}`);
    if (view.whole && view.whole.count) thin.push(`${many(view.whole.of, "record")} in ${many(view.whole.n, "piece")}`);
    if (!view.pieces) thin.push("the run was kept without frames: records are shown where segments would be");
    $("thinned").textContent = thin.length ? `Thinned for this page: ${thin.join(", ")}.` : "";
    say(["Point at a segment to see its frame and record."]);
    legend(); list();
  };
  if (data.views.length) {
    open(0);
    select.addEventListener("change", () => open(+select.value));
    $("in").addEventListener("click", () => scaled(0.5)); $("out").addEventListener("click", () => scaled(2));
    $("all").addEventListener("click", () => zoom(view.span));
    $("before").addEventListener("click", () => step(-1)); $("next").addEventListener("click", () => step(1));
    box.addEventListener("wheel", (e) => {
      if (!e.ctrlKey && !e.shiftKey) return;  // plain scrolling scrolls the page
      e.preventDefault();
      const area = plot.over.getBoundingClientRect();
      scaled(e.deltaY < 0 || e.deltaX < 0 ? 0.8 : 1.25, (e.clientX - area.left) / area.width, 1 - (e.clientY - area.top) / area.height);
    }, { passive: false });
    const keys = {
      ArrowLeft: () => panned(-0.15, 0), ArrowRight: () => panned(0.15, 0), ArrowUp: () => panned(0, 0.15), ArrowDown: () => panned(0, -0.15),
      "+": () => scaled(0.5), "=": () => scaled(0.5), "-": () => scaled(2), 0: () => zoom(view.span), n: () => step(1), p: () => step(-1),
    };
    box.addEventListener("keydown", (e) => {
      if (e.target !== box || e.ctrlKey || e.metaKey || e.altKey || !keys[e.key]) return;
      e.preventDefault(); keys[e.key]();
    });
  } else $("sequences").hidden = true;

  // The table of flows.
  (() => {
    const { columns, rows, of } = data.flows, place = Object.fromEntries(columns.map((name, n) => [name, n]));
    const views = new Map(data.views.map((v, n) => [`${v.flow}/${v.receiver}`, n]));
    const state = (row) => row[place.gap] ? "gap" : row[place.complete] === false ? "incomplete" : "";
    const heads = [
      ["flow", "n", (r) => r[place.flow]], ["from", "", (r) => r[r[place.receiver] === "server" ? place.client : place.server]],
      ["to", "", (r) => r[r[place.receiver] === "server" ? place.server : place.client]], ["server name", "", (r) => r[place.sni] || ""],
      ["seen at", "", (r) => r[place.vantage]], ["tls", "", (r) => r[place.tls] || ""], ["suite", "", (r) => r[place.suite] || ""],
      ["offload", "", (r) => r[place.offload] || r[place.why]], ["app bytes", "n", (r) => r[place.app_bytes]],
      ["decrypted", "n", (r) => r[place.records_decrypted]], ["mixed", "n", (r) => r[place.records_mixed]],
      ["encrypted", "n", (r) => r[place.records_encrypted]], ["failed", "n", (r) => r[place.records_failed]],
      ["lost", "n", (r) => r[place.lost]], ["regained", "n", (r) => r[place.regained]], ["polls", "n", (r) => r[place.polls]],
      ["end", "", (r) => [r[place.end], state(r)].filter(Boolean).join(", ")], ["frame", "n", (r) => r[place.frame]],
    ];
    let sort = data.flows.sort ? -1 : 0, down = false, wanted = "", most = 100;
    const text = (value) => typeof value === "number" ? whole.format(value) : String(value);
    const known = rows.map((row) => ({ row, cells: heads.map(([, , get]) => get(row)) }));
    known.forEach((each) => (each.found = each.cells.map(text).join(" ").toLowerCase()));
    // Number and names stay where they are when the rest is scrolled sideways, if there is room for both.
    const stay = () => {
      const table = $("flows-body").parentElement, heads = [...$("flows-head").children].slice(0, 3);
      let left = 0;
      heads.forEach((th, n) => { table.style.setProperty(`--left${n}`, `${left}px`); left += th.offsetWidth; });
      table.classList.toggle("named", left < table.parentElement.clientWidth * 0.6);
    };
    const show = () => {
      const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
      const found = known.filter((each) => words.every((word) => each.found.includes(word)));
      if (sort >= 0) found.sort((a, b) => {
        const x = a.cells[sort], y = b.cells[sort];
        return (typeof x === "number" ? x - y : String(x).localeCompare(String(y))) * (down ? -1 : 1) || a.cells[0] - b.cells[0];
      });
      $("flows-body").replaceChildren(...found.slice(0, most).map(({ row, cells }) => {
        const key = views.get(`${row[place.flow]}/${row[place.receiver]}`);
        return make("tr", {}, ...cells.map((value, n) => {
          const cell = make("td", { class: heads[n][1] });
          if (n === 0 && key !== undefined) cell.append(make("button", { title: "show its packets", onclick: () => { open(key); $("sequences").scrollIntoView(); } }, text(value)));
          else cell.textContent = n === 0 ? value : text(value);
          return cell;
        }));
      }));
      $("flows-said").textContent = `${whole.format(Math.min(most, found.length))} of ${many(found.length, "direction")}`
        + (found.length < rows.length ? ` that match, of ${whole.format(rows.length)}` : "") + (of > rows.length ? `; the ${data.flows.sort ? "first" : "largest"} of ${whole.format(of)}` : "") + (sort < 0 ? `, by ${data.flows.sort}` : "");
      if (sort < 0 && found.length > most) $("flows-said").textContent += " (a click on a head sorts anew)";
      $("more").hidden = found.length <= most;
      stay();
      [...$("flows-head").children].forEach((th, n) => n === sort ? th.setAttribute("aria-sort", down ? "descending" : "ascending") : th.removeAttribute("aria-sort"));
    };
    $("flows-head").replaceChildren(...heads.map(([name, kind], n) => make("th", { class: kind, scope: "col" },
      make("button", { onclick: () => { down = n === sort ? !down : kind === "n" && n > 0; sort = n; show(); } }, name))));
    addEventListener("resize", stay);
    $("find").addEventListener("input", (e) => { wanted = e.target.value; most = 100; show(); });
    $("more").addEventListener("click", () => { most += 400; show(); });
    show();
  })();
  document.documentElement.dataset.ready = "yes";
})();
