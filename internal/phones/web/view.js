// What the page looks like. Whatever comes from outside is set as text.

import { clock, remaining, word } from "./format.js";

// make builds an element: its class, its attributes, its children.
function make(tag, name, attributes = {}, ...children) {
  const el = document.createElement(tag);
  if (name) el.className = name;
  for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, value);
  el.append(...children);
  return el;
}

// say sets a text where it differs, so that nothing is announced twice.
function say(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

// arrange gives parent one child for each item, in their order. A child stays
// the same element as long as its item is there, and is not moved needlessly:
// what has the focus keeps it.
function arrange(parent, items, key, build, update) {
  const keys = new Set(items.map((item) => String(key(item))));
  const old = new Map();
  for (const el of [...parent.children]) {
    if (keys.has(el.dataset.key)) old.set(el.dataset.key, el);
    else el.remove();
  }
  let at = parent.firstElementChild;
  for (const item of items) {
    const k = String(key(item));
    let el = old.get(k);
    if (!el) {
      el = build(item);
      el.dataset.key = k;
    }
    update(el, item);
    if (el === at) at = at.nextElementSibling;
    else parent.insertBefore(el, at);
  }
}

function buildPhone(phone) {
  const title = make("h3", "", { id: `phone-${phone.factor_sid}`, tabindex: "-1" }, phone.identity);
  const away = make("p", "notice", { role: "status" });
  const alarm = make("div", "alarm-place", { role: "alert" });
  const open = make("div", "open");
  const idle = make("p", "idle", {}, "No challenge is waiting.");
  const older = make("p", "older");
  const past = make("ul", "past", { "aria-label": `Past challenges of ${phone.identity}` });
  const el = make("article", "phone", { "aria-labelledby": title.id },
    make("div", "speaker", { "aria-hidden": "true" }),
    make("header", "", {}, title, make("p", "sid", {}, phone.factor_sid)),
    away, alarm, open, idle, older, past);
  if (phone.command) {
    el.append(make("details", "command", {},
      make("summary", "", {}, "Ring it from a terminal"), make("code", "", {}, phone.command)));
  }
  el.parts = { title, away, alarm, open, idle, older, past };
  return el;
}

function buildChallenge(challenge, press) {
  const id = `challenge-${challenge.sid}`;
  const left = make("span", "left");
  const bar = make("span", "bar", { "aria-hidden": "true" }, make("span"));
  const fields = make("dl");
  for (const { label, value } of challenge.fields ?? []) {
    fields.append(make("div", "", {}, make("dt", "", {}, label), make("dd", "", {}, value)));
  }
  const button = (name, text, answer) => {
    const el = make("button", name, { type: "button" }, text, make("span", "unseen", {}, `: ${challenge.message}`));
    el.addEventListener("click", () => press(challenge, answer));
    return el;
  };
  const el = make("section", "challenge", { "aria-labelledby": id },
    make("h4", "", { id }, challenge.message), fields,
    make("p", "expiry", {}, left, bar),
    make("div", "buttons", {}, button("approve", "Approve", "approved"), button("deny", "Deny", "denied")));
  el.parts = { left, bar: bar.firstElementChild, fields };
  el.challenge = challenge;
  if (!fields.children.length) fields.remove();
  return el;
}

function buildPast(past) {
  return make("li", past.status, {},
    make("span", "mark", { "aria-hidden": "true" }),
    make("span", "what", {}, past.message || "A challenge"),
    make("span", "status", {}, word(past.status)),
    make("time", "", { datetime: past.ended }, clock(past.ended)));
}

// showPhones draws the phones. press is called with a challenge and an answer.
export function showPhones(root, phones, press) {
  arrange(root, phones, (p) => p.factor_sid, buildPhone, (el, phone) => {
    const parts = el.parts;
    const held = parts.open.contains(document.activeElement);
    say(parts.away, phone.away ? "The API does not answer. Trying again…" : "");
    arrange(parts.open, phone.open, (c) => c.sid, (c) => buildChallenge(c, press), () => {});
    parts.idle.hidden = phone.open.length > 0;
    say(parts.older, phone.older ? `${phone.older} older ones are not shown.` : "");
    arrange(parts.past, phone.past, (c) => c.sid, buildPast, () => {});
    // A button that is gone leaves the focus to its phone, and not to the next
    // button: a second press of the key must not answer another challenge.
    if (held && !parts.open.contains(document.activeElement)) parts.title.focus();
  });
}

// showTime moves the countdowns on. now is the API's clock.
export function showTime(root, now) {
  for (const el of root.querySelectorAll(".challenge")) {
    const expires = Date.parse(el.challenge.expires);
    const whole = Math.max(1, expires - Date.parse(el.challenge.made));
    const left = expires - now;
    say(el.parts.left, left > 0 ? `Expires in ${remaining(left)}` : "Expired");
    el.parts.bar.style.inlineSize = `${Math.min(100, Math.max(0, (100 * left) / whole))}%`;
    el.classList.toggle("soon", left < 30000);
  }
}

// showBusy marks a challenge whose answer is under way.
export function showBusy(root, sid, busy) {
  const el = [...root.querySelectorAll(".challenge")].find((c) => c.challenge.sid === sid);
  if (!el) return;
  el.classList.toggle("busy", busy);
  for (const button of el.querySelectorAll("button")) button.setAttribute("aria-disabled", String(busy));
}

// showAlarm tells what went wrong on a phone; without a text, nothing did.
export function showAlarm(root, factor, text) {
  const el = [...root.children].find((phone) => phone.dataset.key === factor);
  if (!el) return;
  el.parts.alarm.replaceChildren();
  if (!text) return;
  const dismiss = make("button", "dismiss", { type: "button", "aria-label": "Dismiss" }, "×");
  dismiss.addEventListener("click", () => {
    el.parts.alarm.replaceChildren();
    el.parts.title.focus();
  });
  el.parts.alarm.append(make("p", "alarm", {}, make("span", "", {}, text), dismiss));
}

function buildFlow(flow) {
  const what = make("p", "what");
  const steps = make("ol", "steps");
  const el = make("li", "", {}, what, make("p", "who", {}, flow.identity), steps);
  el.parts = { what, steps };
  return el;
}

// showFlow draws what became of each request, newest first.
export function showFlow(root, flows, kinds) {
  arrange(root, flows, (f) => f.id, buildFlow, (el, flow) => {
    say(el.parts.what, flow.message || "A challenge");
    const done = new Map(flow.steps.map((step) => [step.kind, step]));
    const outcome = done.get("result")?.text;
    const over = outcome && !done.has("created") && !["succeeded", "adopted"].includes(outcome);
    const steps = kinds.map((kind) => done.get(kind) ?? { kind });
    arrange(el.parts.steps, steps, (s) => s.kind, (s) => {
      const item = make("li", "", {}, make("span", "name"), make("span", "at"));
      item.dataset.kind = s.kind;
      return item;
    }, (item, s) => {
      item.classList.toggle("done", Boolean(s.at));
      item.dataset.text = s.text ?? "";
      const [name, at] = item.children;
      say(name, s.text ? word(s.text) : word(s.kind));
      say(at, s.at ? clock(s.at) : over ? "no" : "not yet");
    });
  });
}
