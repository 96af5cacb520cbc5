// Brings the state from the server to the page, and answers back.

import { word } from "./format.js";
import { showAlarm, showBusy, showFlow, showPhones, showTime } from "./view.js";

const meta = (name) => document.querySelector(`meta[name=${name}]`).content;
const byID = (id) => document.getElementById(id);

const phones = byID("phones");
const busy = new Set();
let ahead = 0; // milliseconds that the API's clock is ahead of ours
let known = null; // what was announced already: open and past challenges by SID

async function post(path, body) {
  let res;
  try {
    res = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Phones-Token": meta("token") },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("The page's server does not answer.");
  }
  const answer = await res.json().catch(() => ({}));
  if (!res.ok) throw new Error(answer.error ?? `The server says ${res.status}.`);
}

async function press(challenge, answer) {
  if (busy.has(challenge.sid)) return;
  const factor = [...phones.children].find((el) => el.contains(document.activeElement))?.dataset.key
    ?? factors.get(challenge.sid);
  busy.add(challenge.sid);
  showBusy(phones, challenge.sid, true);
  showAlarm(phones, factor, "");
  try {
    await post("answer", { sid: challenge.sid, answer });
  } catch (err) {
    showAlarm(phones, factor, err.message);
  } finally {
    busy.delete(challenge.sid);
    showBusy(phones, challenge.sid, false);
  }
}

const factors = new Map(); // which phone has a challenge

// announce says what is new to those who do not see it.
function announce(state) {
  const now = new Map();
  const news = [];
  factors.clear();
  for (const phone of state.phones) {
    for (const c of phone.open) {
      now.set(c.sid, "open");
      factors.set(c.sid, phone.factor_sid);
      if (known && !known.has(c.sid)) news.push(`New challenge on ${phone.identity}: ${c.message}`);
    }
    for (const c of phone.past) {
      now.set(c.sid, c.status);
      if (known?.get(c.sid) === "open") news.push(`${word(c.status)}: ${c.message}`);
    }
  }
  known = now;
  if (news.length) byID("news").textContent = news.join(". ");
}

function fillForm(state) {
  byID("ask").hidden = !state.send;
  const list = byID("ask-phone");
  if (list.options.length === state.phones.length) return;
  list.replaceChildren(...state.phones.map((phone) => new Option(phone.identity, phone.factor_sid)));
}

function show(state) {
  if (state.start !== meta("start")) {
    location.reload(); // the server was started anew: this page's token is an old one
    return;
  }
  ahead = Date.parse(state.now) - Date.now();
  announce(state);
  fillForm(state);
  showPhones(phones, state.phones, press);
  for (const sid of busy) showBusy(phones, sid, true);
  showFlow(byID("flow"), state.flows, state.send ? ["requested", "created", "result", "answered"] : ["created", "answered"]);
  byID("flow").hidden = state.flows.length === 0;
  byID("flow-empty").hidden = state.flows.length > 0;
  const waiting = state.phones.reduce((n, phone) => n + phone.open.length, 0);
  document.title = `${waiting ? `(${waiting}) ` : ""}Virtual phones · Countersign`;
  tick();
}

function tick() {
  showTime(phones, Date.now() + ahead);
}

function link(state, text) {
  const el = byID("link");
  if (el.dataset.state === state) return;
  el.dataset.state = state;
  el.textContent = text;
}

function connect() {
  const source = new EventSource("events");
  source.addEventListener("open", () => link("live", "Live"));
  source.addEventListener("message", (event) => show(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    link("lost", "Not connected");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  });
}

byID("ask-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const says = byID("ask-says");
  says.textContent = "";
  try {
    await post("send", {
      factor_sid: form.elements.phone.value,
      message: form.elements.message.value,
      expires: Number(form.elements.expires.value),
    });
    says.textContent = "Sent.";
  } catch (err) {
    says.textContent = err.message;
  }
});

setInterval(tick, 250);
connect();
