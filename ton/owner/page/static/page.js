"use strict";
// Shows status.json every few seconds. What it tells of others (a gateway's words) is text, never
// markup; nothing is sent anywhere.

const REFRESH_MS = 4000;
const HOUR = 3600;
const SHOWN_HOURS = 24;
const SVG = "http://www.w3.org/2000/svg";

function made(tag, given = {}, ...inside) {
  const { className, ...rest } = given;
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(rest)) node.setAttribute(name, value);
  node.append(...inside.filter((one) => one !== null && one !== undefined));
  return node;
}

function drawn(tag, given, ...inside) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) node.setAttribute(name, value);
  node.append(...inside);
  return node;
}

// Amounts are nano as text, beyond what a number holds.
function gram(nano) {
  const text = nano.padStart(10, "0");
  const behind = text.slice(-9).replace(/0+$/, "").padEnd(2, "0");
  return `${text.slice(0, -9)}.${behind}`;
}

const share = (value) => (value === null || value === undefined ? "?" : `${(100 * value).toFixed(1)} %`);
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

function tile(name, value) {
  return made("div", { className: "tile" }, made("span", {}, name), made("b", {}, value));
}

function table(names, rows) {
  const head = made("tr", {}, ...names.map((name) => made("th", { scope: "col" }, name)));
  const lines = rows.map((row) => made("tr", {}, ...row.map((cell) => made("td", {}, cell))));
  const body = made("table", {}, made("thead", {}, head), made("tbody", {}, ...lines));
  return made("div", { className: "scroll", tabindex: "0" }, body);
}

// The last 24 hours as bars; `of` is what one hour's lines come to, `told` how that is said.
function chart(name, worker, of, told) {
  const last = Math.floor(worker.at / HOUR) * HOUR;
  const starts = Array.from({ length: SHOWN_HOURS }, (_, back) => last - (SHOWN_HOURS - 1 - back) * HOUR);
  const values = starts.map((start) => of(worker.hours.filter((one) => one.start === start)));
  const top = Math.max(...values);
  const bars = values.map((value, index) => {
    const height = top > 0 && value > 0 ? Math.max((96 * value) / top, 2) : 1;
    const where = { x: index * 10 + 1, y: 100 - height, width: 8, height, class: value > 0 ? "some" : "none" };
    return drawn("rect", where, drawn("title", {}, `${clock(starts[index])}: ${told(value)}`));
  });
  const label = `${name} by hour, the highest ${told(top)}`;
  const picture = drawn("svg", { viewBox: "0 0 240 100", preserveAspectRatio: "none", role: "img", "aria-label": label }, ...bars);
  const ends = [clock(starts[0]), `highest ${told(top)}`, clock(last)];
  return made("figure", {}, made("h3", {}, name), picture, made("figcaption", {}, ...ends.map((end) => made("span", {}, end))));
}

const sum = (lines, of) => lines.reduce((all, one) => all + of(one), 0);

function charts(worker) {
  return made(
    "div",
    { className: "charts" },
    chart("Earned, GRAM", worker, (lines) => sum(lines, (one) => Number(one.earned_nano)), (value) => gram(String(Math.round(value)))),
    chart("Requests", worker, (lines) => sum(lines, (one) => one.requests), String),
    chart("Busy slots", worker, (lines) => sum(lines, (one) => one.busy_ms) / (Math.max(worker.slots, 1) * HOUR * 1000), share),
  );
}

function facts(worker) {
  return made(
    "div",
    { className: "tiles" },
    tile("Earned this hour", gram(worker.earned_hour_nano)),
    tile("In a day", gram(worker.earned_day_nano)),
    tile("Not paid yet", gram(String(Object.values(worker.unpaid_nano).reduce((all, one) => all + BigInt(one), 0n)))),
    tile("Busy this hour", share(worker.utilisation.hour)),
    tile("Slots taken now", `${worker.requests_now} of ${worker.slots}`),
    tile("Evidence", worker.platform),
    tile("Keys until", clock(worker.keys_until)),
  );
}

function models(worker) {
  const rows = worker.models_day.map((one) => [one.model, one.requests, one.prompt, one.completion, gram(one.earned_nano)].map(String));
  return rows.length ? [made("h3", {}, "Models, in a day"), table(["model", "requests", "prompt", "completion", "earned"], rows)] : [];
}

function prices(worker) {
  const rows = worker.prices.map((one) => [
    one.model,
    one.own_cost_nano === null ? "no offer" : gram(one.own_cost_nano),
    ...one.quartiles_nano.map(gram),
    one.cheaper_share === null ? "alone" : share(one.cheaper_share),
  ]);
  if (!rows.length) return [];
  const advice = worker.prices
    .filter((one) => one.own_cost_nano === null || (one.quarter_prices && !one.among_cheapest_quarter))
    .map((one) => {
      const isNew = one.own_cost_nano === null;
      const flags = Object.entries(isNew ? one.middle_prices : one.quarter_prices).map(([name, value]) => `--${name.replaceAll("_", "-")} ${value}`);
      return made("p", {}, `${isNew ? "In the middle of what others ask" : "Among the cheapest quarter"} for ${one.model}: `, made("code", {}, flags.join(" ")));
    });
  const names = ["model", "own", "cheapest quarter", "middle", "dearest quarter", "cheaper others"];
  return [made("h3", {}, "Prices of a typical request, GRAM"), table(names, rows), ...advice];
}

function refusals(worker) {
  const rows = Object.entries(worker.refused_day).map(([code, count]) => [code, String(count)]);
  return rows.length ? [made("h3", {}, "Refused, in a day"), table(["reason", "requests"], rows)] : [];
}

function gpus(worker) {
  const known = (worker.gpus && worker.gpus.gpus) || [];
  const told = (value, unit) => (value === undefined ? "?" : `${value} ${unit}`);
  const rows = known.map((one) => [
    `${one.index} ${one.name || ""}`,
    told(one.utilisation, "%"),
    one.memory_used === undefined ? "?" : `${(one.memory_used / 2 ** 30).toFixed(1)} GiB`,
    told(one.temperature, "°C"),
    one.power_mw === undefined ? "?" : `${Math.round(one.power_mw / 1000)} W`,
    String(one.ecc_uncorrected ?? "?"),
  ]);
  return rows.length ? [made("h3", {}, "GPUs"), table(["GPU", "busy", "memory", "heat", "power", "bad memory"], rows)] : [];
}

function links(worker) {
  const rows = worker.gateways.map((one) => {
    const known = one.standing && one.standing.repute;
    const repute = known && known.answered + known.failed ? known : null;
    const state = one.error || one.standing.reason.replaceAll("_", " ");
    const rest = repute ? [share(repute.success), `${repute.first_token_s.toFixed(2)} s`, repute.tokens_per_second.toFixed(0), repute.breaker.replace("_", " ")] : ["–", "–", "–", "–"];
    return [one.origin, state, ...rest];
  });
  const names = ["gateway", "state", "answered", "first token", "tokens/s", "breaker"];
  return rows.length ? [made("h3", {}, "Gateways"), table(names, rows)] : [];
}

function shown(worker) {
  const name = worker.running ? `${worker.models.join(", ")}` : worker.state;
  const state = worker.serving ? "serves" : worker.running ? "does not serve" : worker.starting ? "starts" : "does not run";
  const head = made(
    "div",
    { className: "head" },
    made("h2", {}, name),
    made("span", { className: worker.serving ? "badge" : "badge off" }, state),
    worker.running ? made("code", { title: worker.worker }, worker.worker.slice(0, 16)) : null,
    worker.running ? made("span", { className: "soft" }, worker.state) : null,
  );
  const problems = worker.problems.map((one) => made("p", { className: one.stops ? "problem stops" : "problem" }, one.sentence));
  const rest = worker.running ? [facts(worker), charts(worker), ...models(worker), ...links(worker), ...prices(worker), ...refusals(worker), ...gpus(worker)] : prices(worker);
  return made("article", { className: "worker" }, head, ...problems, ...rest);
}

function show(told) {
  const sums = told.totals;
  document.getElementById("totals").replaceChildren(
    tile("Workers that serve", `${sums.serving} of ${sums.workers}`),
    tile("Earned this hour, GRAM", gram(sums.earned_hour_nano)),
    tile("In a day", gram(sums.earned_day_nano)),
    tile("In 90 days", gram(sums.earned_kept_nano)),
    tile("Not paid yet", gram(sums.unpaid_nano)),
    tile("To be claimed", gram(sums.claimable_nano)),
  );
  const workers = told.workers.map((one) => shown({ at: told.at, ...one }));
  const place = document.getElementById("workers");
  const scrolled = [...place.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
  place.replaceChildren(...workers);
  [...place.querySelectorAll(".scroll")].forEach((one, index) => (one.scrollLeft = scrolled[index] ?? 0));
}

async function refresh() {
  const stamp = document.getElementById("stamp");
  try {
    const answer = await fetch("status.json", { cache: "no-store" });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    // Whoever marks something to copy it, such as a price, keeps it.
    if (document.getSelection().isCollapsed) show(told);
    stamp.textContent = `as of ${new Date(told.at * 1000).toLocaleTimeString()}`;
    stamp.className = "";
  } catch (error) {
    stamp.textContent = `No news: ${error.message}. Is bombyx owner page still running?`;
    stamp.className = "late";
  }
  setTimeout(refresh, REFRESH_MS);
}

refresh();
