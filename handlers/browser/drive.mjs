// Drives Chromium for the Go tests of this folder. A line on standard input is a command,
// as JSON: {"do": ..., and its arguments}. A line on standard output is its answer:
// {"value": ...} or {"error": ...}. Commands are done one after another. The browser ends
// with standard input.
//
// Arguments: the folder that npm installed into, and the path of Chromium.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import path from 'node:path';

const [modules, executablePath] = process.argv.slice(2);
const require = createRequire(path.join(modules, 'package.json'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const browser = await chromium.launch({
  executablePath,
  args: [
    '--no-sandbox', // tests may run as root, and open nothing but their own pages
    '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run',
    // A name of somebody else that leads here, as in DNS rebinding.
    '--host-resolver-rules=MAP evil.example 127.0.0.1',
  ],
});
const limit = 20000; // ms for each step
const tabs = new Map(); // by the names that the tests give them

// outside returns what stands outside the window, where no container scrolls it.
function outside() {
  const found = [];
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) found.push(`the page is ${wide} pixels wider than the window`);
  for (const element of document.body.querySelectorAll('*')) {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height || (box.right <= innerWidth + 0.5 && box.left >= -0.5)) continue;
    let inside = element.matches('.skip, .hide'); // it is hidden there until it has the focus
    for (let up = element.parentElement; up && !inside; up = up.parentElement) {
      inside = ['auto', 'scroll', 'hidden'].includes(getComputedStyle(up).overflowX);
    }
    if (!inside) found.push(`${element.outerHTML.slice(0, 160)} from ${box.left} to ${box.right}`);
  }
  if (wide > 0) {
    // A text can stand outside the box of its element.
    for (const element of document.body.querySelectorAll('*')) {
      if (element.scrollWidth > element.clientWidth && element.clientWidth && !element.querySelector(':scope > *')) found.push(`the text of ${element.outerHTML.slice(0, 160)}`);
    }
  }
  return found;
}

const commands = {
  // opens a tab in a browser that knows nothing of the others
  async open({ tab, width = 1280, height = 800, scheme = 'light', script = true, cookies }) {
    await tabs.get(tab)?.page.context().close();
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, javaScriptEnabled: script, permissions: ['clipboard-read', 'clipboard-write'] });
    context.setDefaultTimeout(limit);
    if (cookies) await context.addCookies(cookies);
    const page = await context.newPage();
    const faults = [];
    page.on('console', (message) => { if (message.type() === 'error') faults.push(message.text()); });
    page.on('pageerror', (error) => faults.push(String(error)));
    page.on('dialog', (dialog) => { faults.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on('request', (request) => { if (!/^(data:|http:\/\/(127\.0\.0\.1|localhost|evil\.example)[:/])/.test(request.url())) faults.push(`asks another host: ${request.url()}`); });
    tabs.set(tab, { page, faults });
  },
  async close({ tab }) {
    await tabs.get(tab)?.page.context().close();
    tabs.delete(tab);
  },
  // the cookies of a tab, for another one
  cookies: ({ page }) => page.context().cookies(),
  // changes the window and the colours of the page that is open
  async look({ page, width, height, scheme }) {
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme: scheme });
  },
  // goes to an address, and returns the status of the answer
  async go({ page, url }) {
    const answer = await page.goto(url, { waitUntil: 'load' });
    return answer.status();
  },
  address: ({ page }) => page.url(),
  click: ({ page, at }) => page.locator(at).first().click(),
  // clicks, and returns the status of the page that follows
  async follow({ page, at }) {
    const [answer] = await Promise.all([
      page.waitForResponse((response) => response.request().isNavigationRequest() && (response.status() < 300 || response.status() >= 400)),
      page.locator(at).first().click(),
    ]);
    await page.waitForLoadState('load');
    return answer.status();
  },
  fill: ({ page, at, value }) => page.locator(at).first().fill(value),
  choose: ({ page, at, value }) => page.locator(at).first().selectOption(value),
  check: ({ page, at }) => page.locator(at).first().check(),
  press: ({ page, value }) => page.keyboard.press(value),
  // waits until something is there, and shows this text
  wait: ({ page, at, value }) => page.locator(at).filter({ hasText: value }).first().waitFor(),
  // waits until the address of the page holds this text
  arrive: ({ page, value }) => page.waitForURL((url) => url.href.includes(value)),
  // the texts of all that is there, as a person sees them
  texts: ({ page, at }) => page.locator(at).allInnerTexts(),
  run: ({ page, value }) => page.evaluate(value),
  clipboard: ({ page }) => page.evaluate(() => navigator.clipboard.readText()),
  outside: ({ page }) => page.evaluate(outside),
  // what went wrong in the page since the last time
  faults: ({ faults }) => faults.splice(0),
  // what axe-core finds that is serious or critical
  async axe({ page, coloursOnly }) {
    if (!await page.evaluate(() => Boolean(globalThis.axe))) await page.evaluate(axe); // it is large
    const { violations } = await page.evaluate((options) => globalThis.axe.run(document, options), {
      resultTypes: ['violations'], ...(coloursOnly ? { runOnly: { type: 'rule', values: ['color-contrast', 'link-in-text-block'] } } : {}),
    });
    return violations.filter((v) => ['serious', 'critical'].includes(v.impact))
      .flatMap((v) => v.nodes.map((node) => `${v.id} (${v.impact}): ${node.html.slice(0, 160)}: ${node.failureSummary}`));
  },
  async shot({ page, file, full }) {
    await page.screenshot({ path: file, fullPage: full, animations: 'disabled' });
  },
  // ms until the first picture of the page that is open
  paint: ({ page }) => page.evaluate(() => new Promise((resolve) => {
    new PerformanceObserver((list, observer) => {
      for (const entry of list.getEntriesByName('first-contentful-paint')) {
        observer.disconnect();
        resolve(entry.startTime);
      }
    }).observe({ type: 'paint', buffered: true });
  })),
  // bytes of the page that is open and of all that it loaded, as they are without compression
  weight: ({ page }) => page.evaluate(() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter((entry) => !entry.name.includes('/api/')).map((entry) => ({ name: entry.name, bytes: entry.decodedBodySize }))),
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const command = JSON.parse(line);
    if (!commands[command.do]) throw new Error(`there is no command ${command.do}`);
    answer = { value: await commands[command.do]({ ...command, ...(command.do === 'open' ? {} : tabs.get(command.tab)) }) ?? null };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
