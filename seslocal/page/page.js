// The mailbox page. Everything that comes from an email is put in as text, never as markup.
"use strict";

const PLOTTED_SECONDS = 120;
const PAGE = 100;
const element = (id) => document.getElementById(id);
const isWide = matchMedia("(min-width: 721px)"); // as in page.css: there is room beside the list, which is not left empty
let shownId = null;
let view = "html";
let asked = 0;
let listed = "";
let skipped = 0;

async function refresh() {
  const turn = ++asked;
  try {
    const search = encodeURIComponent(element("search").value);
    const overview = await (await fetch(`/_sim/overview?search=${search}&skip=${skipped}`)).json();
    if (turn !== asked) return;
    if (skipped && skipped >= overview.found) return turnTo(0);
    showCounts(overview.report);
    showFaults(overview.faults);
    showHowMany(overview.messages.length, overview.found);
    drawPlot(overview.per_second, overview.report.rate + overview.report.burst);
    showList(overview.messages);
    if (shownId === null && overview.messages.length && isWide.matches) return show(overview.messages[0].message_id);
    const shown = overview.messages.find((message) => message.message_id === shownId);
    if (shown) showEvents(shown);
  } catch (error) {
    element("refusals").textContent = "The simulator does not answer.";
  }
}

function showCounts(report) {
  const quota = report.quota < 0 ? "unlimited" : report.quota.toLocaleString();
  const events = report.notifications;
  const refused = Object.entries(report.refused);
  element("accepted").textContent = report.accepted.recipients.toLocaleString();
  element("refused").textContent = report.refused_calls.toLocaleString();
  element("busiest").textContent = `${report.max_recipients_in_any_second} of ${report.rate + report.burst}`;
  element("day").textContent = `${report.sent_last_24_hours.toLocaleString()} of ${quota}`;
  element("duplicates").textContent = report.duplicates.extra_messages.toLocaleString();
  element("events").textContent = [events.published, events.acknowledged, events.dead].join(" / ");
  element("refusals").textContent = refused.length
    ? "Refused: " + refused.map(([kind, count]) => `${kind.replaceAll("_", " ")} ${count}`).join(", ") : "";
}

function showFaults(faults) {
  const rules = faults.rules.filter((rule) => rule.calls !== 0);
  const words = rules.map((rule) => `${rule.fault.replaceAll("_", " ")}${rule.calls === null ? "" : ` (${rule.calls} more)`}`);
  const script = faults.script.length ? [`${faults.script.length} by script`] : [];
  element("in-force").textContent = words.length + script.length ? `In force: ${[...words, ...script].join(", ")}` : "No faults in force.";
}

function showHowMany(shown, found) {
  const some = shown < found;
  element("how-many").textContent = !found ? "" : some
    ? `${(skipped + 1).toLocaleString()} to ${(skipped + shown).toLocaleString()} of ${found.toLocaleString()}` : `${found.toLocaleString()} listed`;
  element("newer").disabled = skipped === 0;
  element("older").disabled = skipped + shown >= found;
  element("newer").hidden = element("older").hidden = !some;
  element("clear").disabled = !found;
}

function turnTo(skip) {
  skipped = Math.max(0, skip);
  return refresh();
}

async function change(method, path, body) {
  const how = { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, how);
  if (!answer.ok) element("in-force").textContent = (await answer.json()).error;
  else await refresh();
}

function drawPlot(perSecond, limit) {
  const canvas = element("plot");
  const pen = canvas.getContext("2d");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const last = Math.floor(Date.now() / 1000);
  const recent = perSecond.filter(([second]) => second > last - PLOTTED_SECONDS);
  const highest = Math.max(limit, ...recent.map(([, accepted, refused]) => accepted + refused), 1) * 1.1;
  const width = canvas.width / PLOTTED_SECONDS;
  const height = (count) => count / highest * canvas.height;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  for (const [second, accepted, refused] of recent) {
    const left = (second - last + PLOTTED_SECONDS - 1) * width;
    pen.fillStyle = colour("--accepted");
    pen.fillRect(left, canvas.height - height(accepted), width - 1, height(accepted));
    pen.fillStyle = colour("--refused");
    pen.fillRect(left, canvas.height - height(accepted + refused), width - 1, height(refused));
  }
  pen.fillStyle = colour("--limit");
  pen.fillRect(0, Math.round(canvas.height - height(limit)), canvas.width, 1);
}

function showList(messages) {
  const wanted = JSON.stringify([shownId, messages.map((message) => message.message_id)]);
  if (wanted === listed) return;
  listed = wanted;
  const items = messages.map((message) => {
    const button = tag("button", tag("span", tag("strong", message.subject || "(no subject)"), time(message.time)),
      tag("div", message.recipients.join(", ")));
    button.firstChild.className = "top";
    button.lastChild.className = "under";
    button.setAttribute("aria-current", String(message.message_id === shownId));
    button.addEventListener("click", () => show(message.message_id));
    return tag("li", button);
  });
  element("messages").replaceChildren(...items);
  element("none").hidden = items.length > 0;
}

async function show(messageId) {
  shownId = messageId;
  const answer = await fetch(`/_sim/messages/${messageId}`);
  const message = await answer.json();
  element("message").hidden = !answer.ok;
  element("hint").hidden = answer.ok;
  if (!answer.ok) return refresh();
  element("subject").textContent = message.subject || "(no subject)";
  element("facts").replaceChildren(...pairs([
    ["From", message.from], ["To", message.recipients.join(", ")], ["Message id", message.message_id],
    ["Sent with", message.operation], ["Configuration set", message.configuration_set],
    ["Tags", Object.entries(message.tags).map(([name, value]) => `${name}=${value}`).join(" ") || "none"],
    ...(message.kept ? [] : [["Content", "too old to be kept"]]),
    ...(message.rendering_failure ? [["Rendering failure", message.rendering_failure]] : []),
  ]));
  showContent(message);
  select(view === "html" && message.kept && !message.has_html ? "text" : view, false);
  refresh();
}

function showContent(message) {
  const base = `/_sim/messages/${message.message_id}`;
  element("html").src = message.has_html ? `${base}/html` : "about:blank";
  element("text").textContent = message.text ?? "This mail has no text part.";
  element("headers").replaceChildren(...(message.headers ?? []).map(([name, value]) => tag("tr", tag("th", name), tag("td", value))));
  element("attachments").replaceChildren(...(message.attachments ?? []).map((file, number) => {
    const link = tag("a", file.filename);
    link.href = `${base}/attachments/${number}`;
    return tag("li", link, ` ${file.content_type}, ${file.size.toLocaleString()} bytes`);
  }));
  showEvents(message);
  element("source").textContent = "";
  if (message.kept) fetch(`${base}/source`).then((answer) => answer.text()).then((text) => { element("source").textContent = text; });
}

function showEvents(message) {
  element("happened").replaceChildren(...message.events.map((name) => tag("li", name)));
}

function select(name, chosen = true) {
  if (chosen) view = name; // what was chosen for one mail holds for the next
  for (const button of document.querySelectorAll("[role=tab]")) {
    button.setAttribute("aria-selected", String(button.dataset.view === name));
    element(button.dataset.view).hidden = button.dataset.view !== name;
  }
}

function pairs(facts) {
  return facts.flatMap(([name, value]) => [tag("dt", name), tag("dd", value ?? "none")]);
}

function time(seconds) {
  return tag("time", new Date(seconds * 1000).toLocaleTimeString());
}

function tag(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

for (const button of document.querySelectorAll("[role=tab]")) {
  button.addEventListener("click", () => select(button.dataset.view));
}
for (const button of document.querySelectorAll("[data-fault]")) {
  const { fault, calls } = button.dataset;
  button.addEventListener("click", () => change("PUT", "/_sim/faults", { rules: [{ fault, calls: calls ? Number(calls) : null }] }));
}
element("no-faults").addEventListener("click", () => change("PUT", "/_sim/faults", {}));
element("clear").addEventListener("click", () => {
  shownId = null;
  element("message").hidden = true;
  element("hint").hidden = false;
  skipped = 0;
  change("DELETE", "/_sim/messages", {});
});
element("newer").addEventListener("click", () => turnTo(skipped - PAGE));
element("older").addEventListener("click", () => turnTo(skipped + PAGE));
element("search").addEventListener("input", () => turnTo(0));
refresh();
setInterval(refresh, 1000);
