// Three videos that play as one: loaded whole before the first frame moves, started together, held together, repeated
// together. The original leads; the two others are nudged by their speed, and set back only when they are far off.
"use strict";

const NUDGE_SECONDS = 0.012, JUMP_SECONDS = 0.12;

export class Player {
  // videos: [left, original, right]; on: { progress(share), ready(), state(isPlaying), end(plays), fail() }
  constructor(videos, on) {
    this.videos = videos;
    this.lead = videos[1];
    this.on = on;
    this.urls = [];
    this.stored = new Map();
    this.generation = 0;
    this.turn = 0;
    this.turning = false; // between the end and the next start: nothing is held together, nothing counts as paused
    this.wanted = false;
    this.isReady = false;
    videos.forEach((video) => {
      video.addEventListener("ended", () => this.#ended());
      video.addEventListener("error", () => { if (video.getAttribute("src")) this.on.fail(); });
      video.addEventListener("pause", () => { if (this.wanted && !video.ended && !this.turning) this.pause(); }); // the system paused one: all pause
    });
  }

  // fetchVideo(name, onBytes) gives a Blob; names: [left, original, right]
  async load(names, fetchVideo) {
    const generation = ++this.generation;
    this.pause();
    this.isReady = this.turning = false;
    this.turn += 1;
    this.plays = 0;
    const shares = names.map(() => 0);
    const blobs = await Promise.all(names.map((name, index) => this.#get(name, fetchVideo, (share) => {
      shares[index] = share;
      if (generation === this.generation) this.on.progress(shares.reduce((sum, one) => sum + one, 0) / names.length);
    })));
    if (generation !== this.generation) return;
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    this.urls = blobs.map((blob) => URL.createObjectURL(blob));
    await Promise.all(this.videos.map((video, index) => new Promise((resolve, reject) => {
      video.addEventListener("loadedmetadata", resolve, { once: true });
      video.addEventListener("error", reject, { once: true });
      video.src = this.urls[index];
      video.load();
    })));
    if (generation !== this.generation) return;
    this.isReady = true;
    this.on.ready();
  }

  // Fetch what comes next while this is watched; keep nothing else.
  prefetch(names, fetchVideo) {
    for (const name of [...this.stored.keys()]) if (!names.includes(name)) this.stored.delete(name);
    names.forEach((name) => this.#get(name, fetchVideo, () => {}).catch(() => this.stored.delete(name)));
  }

  async play() {
    if (!this.isReady || this.wanted) return;
    this.wanted = true;
    if (this.lead.ended) await this.#seek(0);
    await this.#start();
  }

  pause() {
    this.wanted = false;
    this.videos.forEach((video) => { video.pause(); video.playbackRate = 1; });
    this.on.state(false);
  }

  async restart() {
    if (!this.isReady) return;
    this.wanted = true;
    this.turning = true;
    this.turn += 1;
    this.videos.forEach((video) => video.pause());
    await this.#seek(0);
    await this.#start();
  }

  async #start() {
    if (!this.wanted) return;
    this.turning = false;
    try {
      await Promise.all(this.videos.map((video) => video.play()));
    } catch { // the browser wants a touch first
      this.pause();
      return;
    }
    this.on.state(this.wanted);
    this.#hold();
  }

  #hold() {
    if (!this.wanted || this.turning || !this.isReady) return;
    for (const video of this.videos) {
      if (video === this.lead || video.seeking || video.ended || this.lead.ended) continue;
      const ahead = video.currentTime - this.lead.currentTime;
      if (Math.abs(ahead) > JUMP_SECONDS) video.currentTime = this.lead.currentTime;
      else video.playbackRate = Math.abs(ahead) > NUDGE_SECONDS ? Math.min(1.1, Math.max(0.9, 1 - 2 * ahead)) : 1;
    }
    requestAnimationFrame(() => this.#hold());
  }

  async #ended() { // the last of the three has shown its last frame: count, then begin again
    if (this.turning || !this.videos.every((video) => video.ended)) return;
    this.turning = true;
    this.plays += 1;
    this.on.end(this.plays);
    const turn = ++this.turn;
    await new Promise((resolve) => setTimeout(resolve, 350));
    if (turn !== this.turn) return; // another start or another set came between
    if (!this.wanted) { this.turning = false; return; }
    await this.#seek(0);
    await this.#start();
  }

  #seek(seconds) {
    return Promise.all(this.videos.map((video) => new Promise((resolve) => {
      video.playbackRate = 1;
      video.addEventListener("seeked", resolve, { once: true });
      video.currentTime = seconds;
    })));
  }

  #get(name, fetchVideo, onShare) {
    if (!this.stored.has(name)) {
      const listeners = [];
      const blob = fetchVideo(name, (share) => listeners.forEach((listener) => listener(share)));
      this.stored.set(name, { blob, listeners });
      blob.catch(() => this.stored.delete(name));
    }
    const entry = this.stored.get(name);
    entry.listeners.push(onShare);
    return entry.blob.then((blob) => { onShare(1); return blob; });
  }
}
