// Cases for the dashboard, in a headless Chromium: `browser.mjs CASE`, on the dashboard at $BASE.
// Every case fails on an error in the page, also one that nothing else would show.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import net from "node:net";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const { BASE, CHROMIUM, HOSTILE, QUAESTOR, STORE, TOKEN } = process.env;

/** As patient as the rest of the tests. */
const PATIENCE = 60_000;

const flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"];
const profile = fs.mkdtempSync(path.join(os.tmpdir(), "quaestor-browser-"));

/** A fresh page, and what went wrong in it. */
async function open(context, base = BASE) {
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  // A page says so when its policy forbids something.
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource|ERR_/.test(message.text())) errors.push(message.text());
  });
  await page.goto(`${base}/`);
  return { page, errors };
}

const go = (page, to) => page.evaluate((next) => { location.hash = `#/${next}`; }, to);
const shows = (page, text) => page.locator("#main").getByText(text, { exact: false }).first().waitFor();
const quaestor = (...words) => execFileSync(QUAESTOR, [...words, "--etcd", STORE], { encoding: "utf8" });
const instance = (name) => JSON.parse(quaestor("get", "instances", "-o", "json")).find((one) => one.name === name);

/** Tries until it holds. */
async function eventually(what, holds) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    if (await holds()) return;
    assert(Date.now() < end, `not in time: ${what}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const cases = {
  async pages(context) {
    const policy = (await fetch(`${BASE}/`)).headers.get("content-security-policy");
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
    const { page, errors } = await open(context);
    await shows(page, "worker");
    await page.locator("#live", { hasText: "live" }).waitFor();
    for (const [to, texts] of [
      ["services", ["worker", "2 / 2", "elsewhere", "leastLoad"]],
      ["instances", ["worker-0", "worker-1", "Running"]],
      ["nodes", ["local", "Ready"]],
      ["events", ["instance/worker-0", "Started"]],
      ["service/worker", ["Why", "worker-1", "Found as", "Available", "Memory"]],
      ["service/elsewhere", ["Why", "pool"]],
      ["instance/local%2Fworker-0", ["Why", "Process", "started: incarnation 1"]],
      ["node/local", ["Conditions", "worker-0", "Capacity"]],
      ["service/nobody", ["there is no such service"]],
    ]) {
      await go(page, to);
      for (const text of texts) await shows(page, text);
    }
    // By keys alone.
    await page.keyboard.press("g");
    await page.keyboard.press("i");
    await page.getByRole("grid", { name: "Instances" }).focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "worker-1", level: 1 }).waitFor();
    await page.keyboard.press("Escape");
    // Another page begins without a filter: what is typed before it is there would be lost.
    await page.getByRole("heading", { name: "worker-1", level: 1 }).waitFor({ state: "detached" });
    await page.keyboard.press("/");
    await page.keyboard.type("worker-1");
    await eventually("the filter leaves one", () => page.locator(".tall .row:visible").count().then((count) => count === 1));
    // On a phone nothing is wider than the screen, in the dark neither.
    await page.setViewportSize({ width: 390, height: 844 });
    await page.emulateMedia({ colorScheme: "dark" });
    for (const to of ["services", "instances", "nodes", "events", "service/worker", "instance/local%2Fworker-0", "node/local"]) {
      await go(page, to);
      await page.waitForTimeout(200);
      assert(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${to} is wider than a phone`);
    }
    assert.deepEqual(errors, []);

    // The best of several: a busy machine makes all of them later, and none of them earlier.
    let soonest = Infinity, size = 0;
    for (const end = Date.now() + PATIENCE; soonest >= 300 && Date.now() < end;) {
      const { page } = await open(context);
      await page.locator(".tall .row").first().waitFor();
      const measured = await page.evaluate(() => ({
        content: Math.max(...performance.getEntriesByType("paint").map((one) => one.startTime)),
        size: [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")].reduce((sum, one) => sum + one.transferSize, 0),
      }));
      soonest = Math.min(soonest, measured.content);
      size = Math.max(size, measured.size);
      await page.close();
    }
    assert(soonest < 300, `first content after ${soonest} ms`);
    assert(size > 10_000 && size < 150 * 1024, `${size} bytes`);
    return `first content after ${Math.round(soonest)} ms, ${size} bytes`;
  },

  async deeds(context) {
    const { page, errors } = await open(context);
    await page.locator("#live", { hasText: "live" }).waitFor();
    await go(page, "instance/local%2Fworker-0");
    const fact = (name) => page.locator(`dt:text-is("${name}") + dd`);
    await fact("Process").waitFor();
    const before = await fact("Process").textContent();
    // Without the token in its address the page asks for it.
    await page.getByRole("button", { name: "Restart" }).click();
    await page.getByRole("textbox", { name: "Token" }).fill("wrong");
    await page.getByRole("dialog").getByRole("button", { name: "Restart" }).click();
    await page.locator("#said .bad").waitFor();
    await page.getByRole("button", { name: "Restart" }).click();
    await page.getByRole("textbox", { name: "Token" }).fill(TOKEN);
    await page.getByRole("dialog").getByRole("button", { name: "Restart" }).click();
    await eventually("the new process is seen", async () => {
      const now = (await fact("Process").textContent({ timeout: 1000 }).catch(() => null));
      return now && now !== before;
    });
    // A crash is seen as well, and what it printed.
    const pid = await eventually("it is ready", () => instance("worker-0").ready).then(() => instance("worker-0").pid);
    process.kill(pid, "SIGKILL");
    await eventually("the restart is counted", async () => Number(await fact("Restarts").textContent()) >= 1);
    await eventually("its log goes on", async () => (await page.locator(".lines").textContent()).includes("incarnation 3"));

    // A paused rollout is said, and is not green, although nothing waits for it.
    await go(page, "services");
    const shown = (health) => page.locator(`.row[data-id="worker"] .state.${health}`);
    await shown("good").waitFor();
    quaestor("rollout", "pause", "worker");
    await shown("wait").filter({ hasText: "rollout paused" }).waitFor();
    quaestor("rollout", "resume", "worker");
    await shown("good").waitFor();

    // By the address that `dev` prints: nothing is asked, and the token is out of sight.
    const { page: other, errors: more } = await open(context);
    await other.goto(`${BASE}/#token=${TOKEN}`);
    await eventually("the token is taken", async () => !other.url().includes("token"));
    await other.reload();
    await go(other, "node/local");
    await other.getByRole("button", { name: "Drain" }).click();
    await other.getByRole("dialog").getByRole("button", { name: "Drain" }).click();
    await other.locator(".head .state", { hasText: /Drain/ }).waitFor();
    await other.getByRole("button", { name: "Uncordon" }).click();
    await other.getByRole("dialog").getByRole("button", { name: "Uncordon" }).click();
    await other.getByRole("button", { name: "Drain" }).waitFor();
    assert.deepEqual([...errors, ...more], []);
  },

  async resume(context) {
    // Everything goes through here, and can be cut.
    const heads = [], sockets = new Set();
    let isCut = false;
    const target = new URL(BASE);
    const proxy = net.createServer((down) => {
      if (isCut) { down.destroy(); return; }
      const up = net.connect(Number(target.port), target.hostname);
      for (const [one, another] of [[down, up], [up, down]]) {
        sockets.add(one);
        one.on("error", () => another.destroy());
        one.on("close", () => { sockets.delete(one); another.destroy(); });
      }
      down.on("data", (data) => heads.push(data.toString("latin1")));
      down.pipe(up).pipe(down);
    });
    await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
    const { page, errors } = await open(context, `http://127.0.0.1:${proxy.address().port}`);
    await page.locator("#live", { hasText: "live" }).waitFor();
    await go(page, "instances");
    await shows(page, "worker-0");
    const asked = (what) => heads.filter((head) => head.includes(what)).length;
    const boards = asked("GET /api/board");
    const restarts = (name) => page.locator(`.row[data-id="local/${name}"] [role="gridcell"]`).nth(4).textContent();
    process.kill(instance("worker-1").pid, "SIGKILL");
    await eventually("a restart is seen", async () => (await restarts("worker-1")) === "1");

    isCut = true;
    for (const socket of sockets) socket.destroy();
    await page.locator("#live", { hasText: "no connection" }).waitFor();
    const { pid } = instance("worker-0");
    process.kill(pid, "SIGKILL");
    await eventually("it was started again", () => { const now = instance("worker-0"); return now.ready && now.pid !== pid; });
    assert.equal(await restarts("worker-0"), "0");
    isCut = false;
    await page.locator("#live", { hasText: /^live$/ }).waitFor();
    await eventually("what was missed is seen", async () => (await restarts("worker-0")) === "1");
    assert.equal(asked("GET /api/board"), boards, "everything was asked for again");
    assert(heads.some((head) => /GET \/api\/changes/.test(head) && /last-event-id: *[0-9a-f]+-\d+/i.test(head)), "it did not say where it was");
    assert.deepEqual(errors, []);
    proxy.close();
    for (const socket of sockets) socket.destroy();
  },

  async "hostile-log"(context) {
    const { page, errors } = await open(context);
    await page.locator("#live", { hasText: "live" }).waitFor();
    await go(page, "instance/local%2Fevil-0");
    await page.locator(".lines").getByText(HOSTILE).waitFor();
    await harmless(page, errors);
  },

  async "hostile-board"(context) {
    const { page, errors } = await open(context);
    await page.locator("#live", { hasText: "live" }).waitFor();
    for (const to of ["services", "instances", "nodes", "events", "service/worker", "instance/node-0%2Fworker-0", "node/node-0", `service/${encodeURIComponent(HOSTILE)}`]) {
      await go(page, to);
      await page.waitForTimeout(200);
      await harmless(page, errors);
    }
    await go(page, "instance/node-0%2Fworker-0");
    await page.locator("dd").getByText(HOSTILE).first().waitFor();
    await go(page, "nodes");
    await page.locator(".row").getByText(HOSTILE).first().waitFor();
    await harmless(page, errors);
  },

  async many(context) {
    const { page, errors } = await open(context);
    await go(page, "instances");
    await shows(page, "worker-0");
    const grid = page.getByRole("grid", { name: "Instances" });
    assert.equal(await grid.getAttribute("aria-rowcount"), "5000");
    const rows = await page.locator(".tall .row").count();
    assert(rows < 80, `${rows} rows are there at once`);
    // Of each step the best of several: a busy machine makes some of them longer, and none of them shorter.
    const measure = () => grid.evaluate(async (scroll) => {
      const frames = [];
      scroll.scrollTop = 0;
      await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
      const end = scroll.scrollHeight - scroll.clientHeight;
      let before = performance.now();
      for (let step = 1; step <= 60; step += 1) {
        scroll.scrollTop = (end * step) / 60;
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        frames.push(now - before);
        before = now;
      }
      return frames;
    });
    let frames = await measure();
    for (const end = Date.now() + PATIENCE; Math.max(...frames) >= 50 && Date.now() < end;) {
      const others = await measure();
      frames = frames.map((frame, step) => Math.min(frame, others[step]));
    }
    const longest = Math.max(...frames);
    await shows(page, "worker-4999");
    assert(longest < 50, `a frame took ${longest} ms`);
    const size = await page.evaluate(() => [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")].reduce((sum, one) => sum + one.transferSize, 0));
    assert(size < 150 * 1024, `${size} bytes`);
    assert.deepEqual(errors, []);
    return `longest frame ${longest.toFixed(1)} ms, ${size} bytes with all 5000`;
  },
};

async function harmless(page, errors) {
  assert.equal(await page.evaluate(() => window.hacked), undefined, "a script ran");
  assert.equal(await page.locator("main img, main script").count(), 0, "text became elements");
  assert.deepEqual(errors, []);
}

const context = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM, args: flags, headless: true, viewport: { width: 1280, height: 800 } });
try {
  const told = await cases[process.argv[2]](context);
  console.log(`ok ${told ?? ""}`);
} finally {
  await context.close();
  fs.rmSync(profile, { recursive: true, force: true });
}
