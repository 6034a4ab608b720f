"use strict";
// Each video holds all layers of a clip, one above the other: both canvases take theirs from the same frame.
document.querySelectorAll(".player[data-layers]").forEach((player) => {
  const find = (selector) => player.querySelector(selector);
  const video = find("video"), view = find(".view"), divide = find(".divide"), scrub = find(".scrub"), play = find(".play");
  const output = find("output"), mode = find(".mode"), left = find(".left canvas"), right = find(".right canvas");
  const layers = Number(player.dataset.layers), rate = Number(player.dataset.rate), frames = Number(player.dataset.frames);
  const choice = (side) => find(`select[data-side=${side}]`);
  const chosen = (side) => Number(choice(side).value), named = (side) => choice(side).selectedOptions[0].textContent;
  let position = 50, wanted = null;

  function moveTo(percent) {
    position = Math.min(100, Math.max(0, percent));
    view.style.setProperty("--pos", position + "%");
    divide.setAttribute("aria-valuenow", Math.round(position));
  }
  const follow = (event) => {
    const box = view.getBoundingClientRect();
    moveTo((100 * (event.clientX - box.left)) / box.width);
  };
  view.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || mode.value !== "divide") return;
    view.setPointerCapture(event.pointerId);
    divide.focus({ preventScroll: true });
    follow(event);
  });
  view.addEventListener("mousedown", (event) => event.preventDefault());
  view.addEventListener("pointermove", (event) => { if (view.hasPointerCapture(event.pointerId)) follow(event); });
  divide.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: position - 2, ArrowRight: position + 2, Home: 0, End: 100 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveTo(to);
  });

  function layer(canvas, index, mode) {
    const width = video.videoWidth, height = video.videoHeight / layers;
    const context = canvas.getContext("2d");
    if (mode === "copy" && (canvas.width !== width || canvas.height !== height)) { canvas.width = width; canvas.height = height; }
    context.globalCompositeOperation = mode;
    context.drawImage(video, 0, index * height, width, height, 0, 0, canvas.width, canvas.height);
  }
  function draw() {
    if (!video.videoWidth) return;
    layer(left, chosen("left"), "copy");
    layer(right, chosen("right"), "copy");
    if (mode.value === "difference") layer(right, chosen("left"), "difference");
    const index = Math.min(frames - 1, Math.floor(video.currentTime * rate + 0.01));
    if (wanted === null) scrub.value = index;
    output.textContent = (Number(scrub.value) + 1) + " / " + frames;
  }
  function show() { // what stands where, in words and in the view's layout
    view.classList.toggle("divided", mode.value === "divide");
    view.classList.toggle("beside", mode.value === "beside");
    view.classList.toggle("difference", mode.value === "difference");
    find(".left .tag").textContent = named("left");
    find(".right .tag").textContent = mode.value === "difference" ? named("left") + " − " + named("right") + ", × 4" : named("right");
    draw();
  }
  function run() {
    draw();
    if (video.paused) return;
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(run);
    else requestAnimationFrame(run);
  }
  function seek() { // one seek at a time; the last one wanted wins
    if (video.seeking || wanted === null) return;
    video.currentTime = (wanted + 0.5) / rate;
  }
  scrub.addEventListener("input", () => { video.pause(); wanted = Number(scrub.value); output.textContent = (wanted + 1) + " / " + frames; seek(); });
  video.addEventListener("seeked", () => {
    if (wanted !== null && Math.floor(video.currentTime * rate + 0.01) !== wanted) { seek(); return; }
    wanted = null;
    draw();
  });
  player.querySelectorAll("select").forEach((element) => element.addEventListener("change", show));
  play.addEventListener("click", () => {
    if (!video.paused) { video.pause(); return; }
    wanted = null;
    video.loop = true;
    video.play().catch(() => { play.hidden = true; });
  });
  video.addEventListener("playing", () => { play.textContent = "Pause"; run(); });
  video.addEventListener("pause", () => { play.textContent = "Play"; });
  video.addEventListener("loadeddata", draw);
  show();
  moveTo(50);
});
