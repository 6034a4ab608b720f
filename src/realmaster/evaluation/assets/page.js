"use strict";
(() => {
  const stage = document.getElementById("stage"), divide = document.getElementById("divide");
  const play = document.getElementById("play"), now = document.getElementById("now");
  const clip = document.getElementById("clip");
  const images = [...stage.querySelectorAll("img")], canvases = [...stage.querySelectorAll("canvas")];
  const tags = [...stage.querySelectorAll(".tag")], moments = [...document.querySelectorAll(".moment")];
  const clock = (seconds) => Math.floor(seconds / 60) + ":" + (seconds % 60).toFixed(1).padStart(4, "0");
  let position = 50;

  function moveTo(percent) {
    position = Math.min(100, Math.max(0, percent));
    stage.style.setProperty("--pos", position + "%");
    divide.setAttribute("aria-valuenow", Math.round(position));
    divide.setAttribute("aria-valuetext", Math.round(position) + " % render");
    tags[0].classList.toggle("gone", position < 14);
    tags[1].classList.toggle("gone", position > 86);
  }
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    moveTo((100 * (event.clientX - box.left)) / box.width);
  };
  let finger = null; // a finger that may still be scrolling the page: only what goes across moves the divide
  let held = null; // the pointer that moves the divide
  const seize = (event) => {
    finger = null;
    held = event.pointerId;
    stage.setPointerCapture(event.pointerId);
    divide.focus({ preventScroll: true });
    follow(event);
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (event.pointerType === "touch") finger = { id: event.pointerId, x: event.clientX, y: event.clientY };
    else seize(event);
  });
  ["pointerup", "pointercancel"].forEach((name) => stage.addEventListener(name, () => { finger = held = null; }));
  stage.addEventListener("mousedown", (event) => event.preventDefault()); // or the focus would leave the divide again
  stage.addEventListener("pointermove", (event) => {
    if (finger && finger.id === event.pointerId) {
      const across = Math.abs(event.clientX - finger.x), along = Math.abs(event.clientY - finger.y);
      if (across > 8 && across > along) seize(event);
      else if (along > 8) finger = null;
    } else if (event.pointerId === held) follow(event);
  });
  divide.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 2;
    const to = { ArrowLeft: position - step, ArrowDown: position - step, ArrowRight: position + step, ArrowUp: position + step,
                 PageDown: position - 10, PageUp: position + 10, Home: 0, End: 100 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveTo(to);
  });

  function showStill(moment) {
    if (clip) { clip.pause(); }
    canvases.forEach((canvas) => { canvas.hidden = true; });
    moment.querySelectorAll("img").forEach((image, index) => { images[index].src = image.src; });
    images.forEach((image) => { image.hidden = false; });
    moments.forEach((other) => other.setAttribute("aria-pressed", other === moment));
    now.textContent = clock(Number(moment.dataset.seconds));
    if (clip && clip.readyState) { clip.currentTime = Math.min(Number(moment.dataset.seconds), clip.duration || 0); }
  }
  moments.forEach((moment) => moment.addEventListener("click", () => showStill(moment)));
  if (moments.length) showStill(moments[Math.floor(moments.length / 2)]);

  // The clip holds the render above the film: each canvas takes its half of the same frame, so they never run apart.
  function draw() {
    const width = clip.videoWidth, height = clip.videoHeight / 2;
    if (!width) return;
    canvases.forEach((canvas, index) => {
      if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
      canvas.getContext("2d").drawImage(clip, 0, index * height, width, height, 0, 0, width, height);
      canvas.hidden = false;
    });
    images.forEach((image) => { image.hidden = true; });
    moments.forEach((moment) => moment.setAttribute("aria-pressed", false));
    now.textContent = clock(clip.currentTime);
  }
  function run() {
    if (clip.paused) return;
    draw();
    if (clip.requestVideoFrameCallback) clip.requestVideoFrameCallback(run);
    else requestAnimationFrame(run);
  }
  if (clip) {
    play.hidden = false;
    play.addEventListener("click", () => (clip.paused ? clip.play().catch(() => { play.hidden = true; }) : clip.pause()));
    clip.addEventListener("playing", () => { play.textContent = "Pause"; run(); });
    clip.addEventListener("pause", () => { play.textContent = "Play"; });
    clip.addEventListener("error", () => { play.hidden = true; });
  }
  moveTo(50);
})();
