"use strict";
// Shows what `figures` tells: each second by a stream of server-sent events, or by asking where there is none.

const ASK_EVERY_MS = 2000;
const KEPT_SECONDS = 120;
const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const percent = (ratio, digits) => (ratio === null ? "–" : `${(100 * ratio).toFixed(digits)} %`);
const RATE_SECONDS = 10;
const history = [], batchesSeen = new Map();
let held = false, latest = null, asking = null;

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.max(0, Math.round(seconds));
  const [days, hours, minutes] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${s % 60} s` : `${s} s`;
}

function said(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text; // a screen reader is told what has changed alone
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text instanceof Node) made.append(text);
  else made.textContent = text;
  if (className) made.className = className;
  return made;
}

function pairs(id, rows) {
  at(id).replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function words(text, columns) {
  const made = document.createElement("tr"), cell = element("td", text, "words");
  cell.colSpan = columns;
  made.append(cell);
  return made;
}

function row(cells, minor) {
  const made = document.createElement("tr");
  cells.forEach((cell, place) => {
    const td = element(place ? "td" : "th", cell, place === minor ? "minor" : "");
    if (!place) td.scope = "row";
    made.append(td);
  });
  return made;
}

function how(now) {
  const bad = now.obstacles.filter((each) => each.level === "error").length;
  const warnings = now.obstacles.filter((each) => each.level === "warning").length;
  const stopped = now.closed.some((each) => each.scope === "account");
  const ago = now.rate.throttled_ago_seconds;
  const throttled = ago !== null && ago < 60;
  const said = stopped ? (now.closed.some((each) => each.how === "stopped") ? "Stopped" : "Paused")
    : bad ? `${bad} in the way` : throttled ? "Throttled by SES" : warnings ? `${warnings} to see to` : busy(now) ? "Sending" : "Idle, all well";
  return [said, stopped || bad ? "error" : throttled || warnings ? "warning" : "good"];
}

const busy = (now) => now.rate.now > 0 || now.lanes.some((lane) => lane.queued > 0);

const withCode = (text) => text.split("`").map((part, place) => (place % 2 ? element("code", part) : part));

function showObstacles(now) {
  at("obstacles").replaceChildren(...now.obstacles.map((each) => {
    const made = element("article", "", `obstacle ${each.level}`);
    const what = element("p", "");
    what.append(element("b", each.id.replaceAll("-", " ")), ...withCode(each.what));
    const to_do = element("p", "");
    to_do.append(...withCode(each.do));
    made.append(what, to_do);
    return made;
  }));
}

function showRate(rate) {
  said("rate-now", number.format(rate.now));
  said("rate-limit", rate.limit === null ? "a second, without a limit" : `of ${number.format(rate.limit)} recipients a second`);
  said("rate-allowed", rate.allowed === null ? "any rate" : `${number.format(rate.allowed)} a second`);
  const ago = rate.throttled_ago_seconds;
  const throttled = ago === null ? "never" : `${number.format(rate.throttled)}, the last ${duration(ago)} ago`;
  at("rate-throttled").replaceChildren(ago !== null && ago < 60 ? element("span", throttled, "mark warning") : throttled);
  const top = Math.max(1, rate.limit || 0, ...history.map((each) => each.now)) * 1.15;
  const x = (place) => (240 * (KEPT_SECONDS - history.length + place)) / (KEPT_SECONDS - 1);
  const y = (value) => 60 - (60 * value) / top;
  const points = history.map((each, place) => `${x(place).toFixed(1)},${y(each.now).toFixed(1)}`);
  const [area, line, limit] = at("rate-line").children;
  line.setAttribute("d", points.length > 1 ? `M${points.join(" L")}` : "");
  area.setAttribute("d", points.length > 1 ? `M${x(0)},60 L${points.join(" L")} L240,60 Z` : "");
  limit.setAttribute("d", rate.limit === null ? "" : `M0,${y(rate.limit).toFixed(1)} L240,${y(rate.limit).toFixed(1)}`);
  const most = Math.max(...history.map((each) => each.now));
  at("rate-line").setAttribute("aria-label", `Recipients a second; the most so far: ${number.format(most)}`);
  said("rate-scale", `The last two minutes; at most ${number.format(most)} a second${rate.limit === null ? "" : "; dashed: the limit"}`);
}

function showQuota(quota) {
  said("quota-used", number.format(quota.used));
  said("quota-limit", quota.limit === null ? "recipients, without a limit" : `of ${number.format(quota.limit)}`);
  at("quota-meter").hidden = quota.limit === null;
  at("quota-meter").value = quota.limit ? Math.min(1, quota.used / quota.limit) : quota.limit === 0 ? 1 : 0;
  const left = Object.entries(quota.left).map(([lane, left]) => [
    `Left for ${lane}`, left === null ? "any" : left > 0 ? number.format(left) : element("span", "none", "mark error")]);
  pairs("quota", [["Used by others", number.format(quota.by_others)], ...left]);
}

function showLine(now) {
  const closed = now.closed.map((each) => [
    each.scope === "account" ? "Everything" : each.scope.replace(":", " "),
    element("span", `${each.how} for ${duration(now.at - each.since)}`, "mark error")]);
  const tried = now.closed.filter((each) => each.next_probe_at !== null).map((each) => each.next_probe_at - now.at);
  const probe = tried.length ? [["Tried again in", duration(Math.min(...tried))]] : [];
  const { standing, told_by, age_seconds } = now.account;
  pairs("line", [
    ...(closed.length ? closed : [["Line", element("span", "open", "mark good")]]), ...probe,
    ["Workers", now.workers ? number.format(now.workers) : element("span", "none", "mark error")],
    ["Account", standing === "healthy" || !standing ? standing || "not known" : element("span", standing, "mark warning")],
    ["Limits told by", told_by === "ses" ? "SES" : told_by || "nobody yet"], ["and read", age_seconds === null ? "never" : `${duration(age_seconds)} ago`],
  ]);
}

function later(lane) {
  const made = element("span", number.format(lane.scheduled));
  if (lane.scheduled && lane.next_seconds > 0) made.append(element("span", `, in ${duration(lane.next_seconds)}`, "minor"));
  return made;
}

function showLanes(lanes) {
  at("lanes").replaceChildren(...lanes.map((each) => row([
    each.lane, duration(each.oldest_seconds), number.format(each.queued),
    later(each),
    each.workers ? number.format(each.workers) : element("span", "none", "mark error"),
  ])));
}

function showOthers(others) {
  const names = Object.keys(others).sort();
  at("others-card").hidden = names.length === 0;
  at("others").replaceChildren(...names.map((name) => {
    const { rate, quota, account } = others[name];
    const used = quota.limit === null ? number.format(quota.used) : `${number.format(quota.used)} of ${number.format(quota.limit)}`;
    const line = account.is_closed ? element("span", "closed", "mark error") : account.standing || "not known";
    return row([name, number.format(rate.now), rate.limit === null ? "any" : number.format(rate.limit), used, line], 2);
  }));
}

// How many a second end, by the last ten seconds in which this page has seen the batch.
function rateOf(batch, now) {
  const seen = batchesSeen.get(batch.id) || [];
  seen.push([now, batch.done]);
  while (seen.length > 2 && seen[0][0] < now - RATE_SECONDS) seen.shift();
  batchesSeen.set(batch.id, seen);
  const seconds = now - seen[0][0];
  return seconds > 0.5 ? (batch.done - seen[0][1]) / seconds : null;
}

function stateOf(batch, rate) {
  if (batch.state === "paused") return element("span", "paused", "mark warning");
  if (batch.state !== "running") return batch.state;
  if (batch.waits_seconds > 0) return element("span", `waits, ${duration(batch.waits_seconds)} more`, "mark warning");
  return rate > 0 ? `running, ${duration((batch.recipients - batch.done) / rate)} left` : "running";
}

function doneOf(batch) {
  const made = element("progress", "");
  made.max = batch.recipients || 1;
  made.value = batch.done;
  made.setAttribute("aria-label", "done");
  const shown = element("span", percent(batch.recipients ? batch.done / batch.recipients : null, 0));
  shown.prepend(made, " ");
  return shown;
}

function showBatches(batches, now) {
  at("batches-card").hidden = batches.length === 0;
  for (const id of batchesSeen.keys()) if (!batches.some((each) => each.id === id)) batchesSeen.delete(id);
  at("batches").replaceChildren(...batches.map((each) => {
    const rate = rateOf(each, now);
    const name = element("span", each.list || each.id);
    name.title = each.id;
    return row([name, doneOf(each), number.format(each.recipients), rate === null ? "–" : `${number.format(rate)}/s`,
      stateOf(each, rate)], 2);
  }));
}

function showEvents(events) {
  const late = events.set_aside ? element("span", number.format(events.set_aside), "mark warning") : "none";
  pairs("events", [
    ["Last processed", events.heard_ago_seconds === null ? "never" : `${duration(events.heard_ago_seconds)} ago`],
    ["First word takes", duration(events.delay_seconds)], ["Wait", number.format(events.unprocessed)], ["Set aside", late]]);
}

function showLists(lists) {
  const mark = (text, level) => (level === "info" ? text : element("span", text, `mark ${level}`));
  at("lists").replaceChildren(...(lists.length ? lists : [null]).map((each) => each === null
    ? words("No email was sent in these days, or no event of SES has come.", 5)
    : row([each.list || "(no list)", number.format(each.sent), number.format(each.delivered),
      mark(percent(each.bounces, 1), each.bounces_level), mark(percent(each.complaints, 2), each.complaints_level)], 2)));
}

function show(now) {
  if (now.away) return away(now.away);
  latest = now;
  history.push({ now: now.rate.now });
  history.splice(0, history.length - KEPT_SECONDS);
  if (held) return;
  const [text, level] = how(now);
  said("how", text);
  at("how").className = `pill ${level}`;
  said("site", now.site === "default" ? "" : now.site);
  said("when", new Date(now.at * 1000).toLocaleTimeString());
  document.title = `${text} · sesmail`;
  showObstacles(now);
  showRate(now.rate);
  showQuota(now.quota);
  showLine(now);
  showLanes(now.lanes);
  const states = [...Object.entries(now.states), ...Object.entries(now.batch_states).map(([name, count]) => [`in batches ${name}`, count])];
  pairs("states", states.length ? states.map(([name, count]) => [name, number.format(count)]) : [["None", "yet"]]);
  showEvents(now.events);
  showOthers(now.others);
  showBatches(now.batches, now.at);
  showLists(now.lists);
}

function away(words) {
  said("how", "Out of reach");
  at("how").className = "pill error";
  document.title = "Out of reach · sesmail";
  const made = element("article", "", "obstacle error");
  const since = latest ? ` What you see below is from ${new Date(latest.at * 1000).toLocaleTimeString()}.` : "";
  made.append(element("p", words + since));
  at("obstacles").replaceChildren(made);
}

async function ask() {
  try {
    const answer = await fetch("figures", { cache: "no-store", redirect: "error" });
    if (answer.status !== 200 && answer.status !== 503) return away("You may not see this any more: log in again.");
    const now = await answer.json();
    show(now);
    return now.streams;
  } catch {
    return away("The server of this page cannot be reached.");
  }
}

function askAgainAndAgain() {
  if (asking === null) asking = setInterval(ask, ASK_EVERY_MS);
}

function listen() {
  const stream = new EventSource("stream");
  let heard = false;
  stream.onmessage = (message) => { heard = true; show(JSON.parse(message.data)); };
  stream.onerror = () => {
    if (stream.readyState !== EventSource.CLOSED && heard) return; // it tries again by itself
    stream.close();
    askAgainAndAgain();
  };
}

at("hold").addEventListener("click", () => {
  held = !held;
  at("hold").setAttribute("aria-pressed", String(held));
  at("hold").textContent = held ? "Go on" : "Hold still";
  if (!held && latest) show(latest);
});

ask().then((streams) => (streams ? listen() : askAgainAndAgain()));
