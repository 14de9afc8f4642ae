// What a page can do with script: copy commands, keys, and a line that says that there are
// new alerts. Everything else works without.
'use strict';

// Copying. The text is exactly that of the command, however the page breaks it.
for (const button of document.querySelectorAll('[data-copy]')) {
  button.hidden = false;
  button.addEventListener('click', async () => {
    const text = button.previousElementSibling.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = 'Press Ctrl+C';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
}

// Times, also as they are here.
for (const time of document.querySelectorAll('time[datetime]')) {
  const at = new Date(time.dateTime);
  if (!isNaN(at)) time.title = `${time.dateTime}, here ${at.toLocaleString()}`;
}

// Choosing rows.
const boxes = [...document.querySelectorAll('input[name="ref"]')];
const all = document.querySelector('[data-all]');
const chosen = document.querySelector('[data-chosen]');
function count() {
  const n = boxes.filter((box) => box.checked).length;
  if (chosen) chosen.textContent = n || '';
  if (all) {
    all.checked = n > 0 && n === boxes.length;
    all.indeterminate = n > 0 && n < boxes.length;
  }
}
for (const box of boxes) box.addEventListener('change', count);
if (all && boxes.length) {
  all.hidden = false;
  all.addEventListener('change', () => {
    for (const box of boxes) box.checked = all.checked;
    count();
  });
  count();
}

// The change of many alerts goes on by itself, as its person has said. Whoever follows
// "Stop here" leaves before the next step.
document.querySelector('form[data-next]')?.requestSubmit();

// Keys. They do nothing while somebody types, and can be turned off.
const keys = document.querySelector('dialog.keys');
const off = document.querySelector('[data-keys-off]');
const remembered = 'hubwatch-keys-off';
try { off.checked = localStorage.getItem(remembered) === '1'; } catch { /* no storage: they are on */ }
off.addEventListener('change', () => {
  try { localStorage.setItem(remembered, off.checked ? '1' : ''); } catch { /* for this page only */ }
});
const keysButton = document.querySelector('[data-keys]');
keysButton.parentElement.hidden = false;
keysButton.addEventListener('click', () => keys.showModal());
const rows = [...document.querySelectorAll('tr[data-row]')];
let current = -1;
function move(step) {
  if (!rows.length) return;
  rows[current]?.classList.remove('current');
  current = Math.min(Math.max(current + step, 0), rows.length - 1);
  rows[current].classList.add('current');
  rows[current].scrollIntoView({ block: 'nearest' });
}
document.addEventListener('keydown', (event) => {
  if (off.checked || event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
  if (event.target.closest('input:not([type="checkbox"]), textarea, select, dialog')) return;
  switch (event.key) {
    case 'j': move(1); break;
    case 'k': move(-1); break;
    case 'Enter':
      if (current < 0 || event.target !== document.body) return;
      rows[current].querySelector('a')?.click();
      break;
    case 'x': {
      const box = rows[current]?.querySelector('input[name="ref"]');
      if (!box) return;
      box.checked = !box.checked;
      count();
      break;
    }
    case '/': {
      const field = document.querySelector('.filter input, .filter select');
      field?.closest('details')?.setAttribute('open', '');
      field?.focus();
      break;
    }
    case '?': keys.showModal(); break;
    default: return;
  }
  event.preventDefault();
});

// New alerts announce themselves. The person decides when to look.
const news = document.querySelector('.news');
const every = 30000;
let before = null;
async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch(document.body.dataset.news, { headers: { Accept: 'application/json' } });
    if (!answer.ok) return;
    const { alerts } = await answer.json();
    if (before === null) before = alerts;
    before = Math.min(before, alerts); // a day is over
    if (alerts > before) {
      const link = document.createElement('a');
      link.href = location.href;
      link.textContent = 'Show';
      const n = alerts - before;
      news.replaceChildren(`${n} new ${n === 1 ? 'alert' : 'alerts'}. `, link);
      news.hidden = false;
    }
  } catch { /* the next look may work */ }
}
look();
setInterval(look, every);
