// The replay player: recorded states of the worst cases, drawn from above. The format is sim/evaluation/player.py's.
"use strict";
(() => {
  const stage = document.getElementById("stage");
  if (!stage) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const PRESENT = 1, CRASHED = 2, BRAKES = 4;
  const TURN = 2 * Math.PI, STEPS = 65536;
  const SIGHT = 110; // metres across the picture at zoom 1
  const TRAIL = 3; // seconds
  const byId = (id) => document.getElementById(id);
  const play = byId("play"), scrub = byId("scrub"), rate = byId("rate"), follow = byId("follow");

  // ---- Reading

  async function unpack(film) {
    const packed = Uint8Array.from(atob(film.data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const buffer = await new Response(stream).arrayBuffer();
    const T = film.frames, K = film.looks.length;
    let place = 0;
    const sums = (rows, Source, Target, scale, start) => {
      const source = new Source(buffer, place, rows * T), target = new Target(rows * T);
      place += source.byteLength;
      for (let k = 0; k < rows; k++) {
        let sum = 0;
        for (let t = 0; t < T; t++) {
          sum = (sum + source[k * T + t]) % (Source === Uint8Array ? 256 : STEPS);
          target[k * T + t] = scale ? start + scale * sum : sum;
        }
      }
      return target;
    };
    const x = sums(K, Uint16Array, Float64Array, film.quantum, film.origin[0]);
    const y = sums(K, Uint16Array, Float64Array, film.quantum, film.origin[1]);
    const heading = sums(K, Uint16Array, Float64Array, TURN / STEPS, 0);
    const speed = Float64Array.from(sums(1, Uint16Array, Uint16Array), (raw) => (raw < STEPS / 2 ? raw : raw - STEPS) / 100);
    return { film, T, K, x, y, heading, speed, flags: sums(K, Uint8Array, Uint8Array), road: roadOf(film) };
  }

  const roads = new Map();
  function roadOf(film) {
    if (roads.has(film.road)) return roads.get(film.road);
    const source = data.roads[film.road];
    const trace = (path, points, backwards) => {
      const n = points.length / 2;
      for (let k = 0; k < n; k++) {
        const at = 2 * (backwards ? n - 1 - k : k);
        path.lineTo(points[at] / 100, points[at + 1] / 100);
      }
    };
    const lanes = source.lanes.map((lane) => {
      const area = new Path2D();
      trace(area, lane.left, false);
      trace(area, lane.right, true);
      area.closePath();
      const lines = ["left", "right"].map((side, k) => {
        const path = new Path2D();
        trace(path, lane[side], false);
        return { path, kind: lane.lines[k] };
      });
      return { area, lines };
    });
    const road = { lanes, paved: source.paved };
    roads.set(film.road, road);
    return road;
  }

  // ---- Drawing

  let colours = {};
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ground", "shoulder", "asphalt", "paint", "ego", "other", "vehicle", "crashed", "obstacle", "landmark", "parked"])
      colours[name] = style.getPropertyValue("--" + name).trim();
  }

  // Pose of thing k at `frame`, between two frames on the straight line; null while it is not there.
  function pose(episode, k, frame) {
    const before = Math.min(Math.floor(frame), episode.T - 1), after = Math.min(before + 1, episode.T - 1);
    const a = k * episode.T + before, b = k * episode.T + after;
    if (!(episode.flags[a] & PRESENT)) return null;
    const share = episode.flags[b] & PRESENT ? frame - before : 0;
    let turn = episode.heading[b] - episode.heading[a];
    turn -= TURN * Math.round(turn / TURN);
    return {
      x: episode.x[a] + share * (episode.x[b] - episode.x[a]),
      y: episode.y[a] + share * (episode.y[b] - episode.y[a]),
      heading: episode.heading[a] + share * turn,
      flags: episode.flags[a],
    };
  }

  function drawRoad(context, road) {
    context.lineJoin = "round";
    if (road.paved) {
      const [left, top, right, bottom] = road.paved;
      context.fillStyle = colours.asphalt;
      context.fillRect(left - 3, top - 3, right - left + 6, bottom - top + 6);
    } else {
      context.strokeStyle = colours.shoulder;
      context.lineWidth = 1.6;
      for (const lane of road.lanes) context.stroke(lane.area);
      context.strokeStyle = context.fillStyle = colours.asphalt;
      context.lineWidth = 0.3; // closes the seams between lanes
      for (const lane of road.lanes) {
        context.fill(lane.area);
        context.stroke(lane.area);
      }
    }
    context.strokeStyle = colours.paint;
    context.lineWidth = 0.2;
    for (const lane of road.lanes)
      for (const { path, kind } of lane.lines) {
        if (!kind) continue;
        context.setLineDash(kind === 1 ? [3, 6] : []);
        context.stroke(path);
      }
    context.setLineDash([]);
  }

  function drawTrail(context, episode, k, frame, colour) {
    const first = Math.max(0, Math.ceil(frame - TRAIL / episode.film.dt));
    context.beginPath();
    for (let t = first; t <= frame; t++) {
      if (!(episode.flags[k * episode.T + t] & PRESENT)) continue;
      context.lineTo(episode.x[k * episode.T + t], episode.y[k * episode.T + t]);
    }
    const now = pose(episode, k, frame);
    if (now) context.lineTo(now.x, now.y);
    context.strokeStyle = colour;
    context.globalAlpha = 0.55;
    context.lineWidth = 0.5;
    context.stroke();
    context.globalAlpha = 1;
  }

  function drawThing(context, episode, k, frame) {
    const now = pose(episode, k, frame);
    if (!now) return;
    const look = episode.film.looks[k], [length, width] = episode.film.sizes[k];
    const car = look === "ego" || look === "vehicle" || look === "parked";
    const body = k === episode.film.other && look === "vehicle" ? "other" : look;
    context.save();
    context.translate(now.x, now.y);
    context.rotate(now.heading);
    if (look === "landmark") {
      context.strokeStyle = colours.landmark;
      context.lineWidth = 0.3;
      context.strokeRect(-length / 2, -width / 2, length, width);
      context.restore();
      return;
    }
    context.fillStyle = colours[body];
    context.strokeStyle = now.flags & CRASHED ? colours.crashed : "rgba(0, 0, 0, 0.45)";
    context.lineWidth = now.flags & CRASHED ? 0.6 : 0.12;
    context.beginPath();
    if (car) context.roundRect(-length / 2, -width / 2, length, width, Math.min(length, width) * 0.22);
    else context.rect(-length / 2, -width / 2, length, width);
    context.fill();
    context.stroke();
    if (car) {
      context.fillStyle = "rgba(15, 22, 32, 0.72)"; // windscreen: shows where the front is
      context.fillRect(length * 0.1, -width * 0.36, length * 0.15, width * 0.72);
      context.fillStyle = "rgba(15, 22, 32, 0.45)";
      context.fillRect(-length * 0.36, -width * 0.32, length * 0.1, width * 0.64);
      if (now.flags & BRAKES) {
        context.fillStyle = "#ff3b30";
        for (const side of [-1, 1]) context.fillRect(-length / 2 - 0.1, side * width * 0.32 - 0.25, 0.45, 0.5);
      }
    }
    context.restore();
  }

  // Draws a moment. view: {x, y} of the middle [m], scale [px/m]; width, height of the canvas [px].
  function draw(canvas, episode, frame, view) {
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = colours.ground;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.setTransform(view.scale, 0, 0, view.scale, canvas.width / 2 - view.scale * view.x, canvas.height / 2 - view.scale * view.y);
    drawRoad(context, episode.road);
    const { ego, other } = episode.film;
    if (other !== null) drawTrail(context, episode, other, frame, colours.other);
    drawTrail(context, episode, ego, frame, colours.ego);
    const rank = (k) => (k === ego ? 2 : ["obstacle", "landmark"].includes(episode.film.looks[k]) ? 0 : 1);
    const order = [...Array(episode.K).keys()].sort((a, b) => rank(a) - rank(b));
    for (const k of order) drawThing(context, episode, k, frame);
  }

  const worst = (film) => (film.moments.length ? film.moments[0].frame - film.first : film.frames - 1);

  // ---- The player

  const state = { episode: null, frame: 0, playing: false, zoom: 1, x: 0, y: 0, last: 0, asked: 0 };

  function show() {
    const { episode } = state;
    if (!episode) return;
    const ratio = window.devicePixelRatio || 1, box = stage.getBoundingClientRect();
    const width = Math.round(box.width * ratio), height = Math.round(box.height * ratio);
    if (stage.width !== width || stage.height !== height) [stage.width, stage.height] = [width, height];
    if (follow.checked) {
      const ego = pose(episode, episode.film.ego, state.frame);
      if (ego) [state.x, state.y] = [ego.x, ego.y];
    }
    draw(stage, episode, state.frame, { x: state.x, y: state.y, scale: scale() * ratio });
    const at = Math.round(state.frame), { film } = episode;
    scrub.value = at;
    byId("frame-counter").textContent = `frame ${film.first + at} of ${film.first + film.frames - 1}`;
    byId("clock").textContent = `${((film.first + state.frame) * film.dt).toFixed(2)} s`;
    byId("ego-speed").textContent = `ego ${episode.speed[at].toFixed(1)} m/s`;
    for (const button of byId("moments").children) button.setAttribute("aria-pressed", String(Number(button.dataset.frame) === at));
  }

  // Pixels of the page a metre.
  const scale = () => (state.zoom * stage.clientWidth) / Math.min(SIGHT, Math.max(60, stage.clientWidth / 6));

  function setPlaying(on) {
    if (on && state.frame >= state.episode.T - 1) state.frame = 0;
    state.playing = on;
    play.textContent = on ? "Pause" : "Play";
    state.last = performance.now();
    if (on) requestAnimationFrame(tick);
  }

  function tick(now) {
    if (!state.playing) return;
    const passed = Math.max(0, now - state.last) / 1000;
    state.last = now;
    state.frame = Math.min(state.frame + (passed * Number(rate.value)) / state.episode.film.dt, state.episode.T - 1);
    show();
    if (state.frame >= state.episode.T - 1) setPlaying(false);
    else requestAnimationFrame(tick);
  }

  function jump(frame) {
    if (!state.episode) return;
    setPlaying(false);
    state.frame = Math.max(0, Math.min(state.episode.T - 1, frame));
    show();
  }

  function zoom(factor) {
    state.zoom = Math.max(0.1, Math.min(8, state.zoom * factor));
    show();
  }

  const unpacked = new Map();
  const episodeOf = (number) => {
    if (!unpacked.has(number)) unpacked.set(number, unpack(data.replays[number]));
    return unpacked.get(number);
  };

  async function choose(number) {
    const asked = ++state.asked, film = data.replays[number];
    const episode = await episodeOf(number);
    if (asked !== state.asked) return; // another one was chosen meanwhile
    state.episode = episode;
    scrub.max = film.frames - 1;
    byId("film-name").textContent = `${film.group} / ${film.seed}`;
    byId("film-why").textContent = [film.text, film.why].filter(Boolean).join(", ");
    byId("film-trace").textContent = film.trace;
    stage.setAttribute("aria-label", `Replay of ${film.case} seen from above: ${film.text}`);
    document.querySelectorAll(".film").forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.film) === number)));
    byId("moments").replaceChildren(...film.moments.map(({ label, frame }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.frame = frame - film.first;
      button.textContent = `${label}: frame ${frame}`;
      button.addEventListener("click", () => jump(frame - film.first));
      return button;
    }));
    jump(worst(film));
  }

  play.addEventListener("click", () => state.episode && setPlaying(!state.playing));
  byId("back").addEventListener("click", () => jump(Math.ceil(state.frame) - 1));
  byId("forward").addEventListener("click", () => jump(Math.floor(state.frame) + 1));
  byId("nearer").addEventListener("click", () => zoom(1.4));
  byId("farther").addEventListener("click", () => zoom(1 / 1.4));
  scrub.addEventListener("input", () => jump(Number(scrub.value)));
  follow.addEventListener("change", show);
  stage.addEventListener("keydown", (event) => {
    const keys = {
      " ": () => state.episode && setPlaying(!state.playing),
      ArrowLeft: () => jump(Math.ceil(state.frame) - 1),
      ArrowRight: () => jump(Math.floor(state.frame) + 1),
      Home: () => jump(0),
      End: () => jump(Infinity),
      "+": () => zoom(1.4),
      "=": () => zoom(1.4),
      "-": () => zoom(1 / 1.4),
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });

  let drag = null;
  stage.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!drag || (event.clientX === drag.x && event.clientY === drag.y)) return;
    follow.checked = false;
    state.x -= (event.clientX - drag.x) / scale();
    state.y -= (event.clientY - drag.y) / scale();
    drag = { x: event.clientX, y: event.clientY };
    show();
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => (drag = null));

  document.querySelectorAll(".film, .watch").forEach((button) =>
    button.addEventListener("click", async () => {
      await choose(Number(button.dataset.film));
      if (button.matches(".film") && window.innerWidth > 960) return;
      byId("player").scrollIntoView({ block: "start" });
      stage.focus({ preventScroll: true });
    }));

  async function drawThumbs() {
    for (const button of document.querySelectorAll(".film")) {
      const episode = await episodeOf(Number(button.dataset.film));
      const canvas = button.querySelector("canvas"), frame = worst(episode.film);
      const ego = pose(episode, episode.film.ego, frame);
      if (ego) draw(canvas, episode, frame, { x: ego.x, y: ego.y, scale: canvas.width / 45 });
    }
  }

  window.addEventListener("resize", show);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readColours();
    show();
    drawThumbs();
  });
  readColours();
  const asked = new URLSearchParams(location.hash.slice(1)).get("case");
  const film = Math.max(0, data.replays.findIndex((one) => one.case === asked));
  choose(film).then(drawThumbs);
})();
