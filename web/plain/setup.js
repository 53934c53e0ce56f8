"use strict";

// The token stands behind the "#", which browsers send to nobody; it goes out in the body only.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const form = document.querySelector("form");
const status = document.querySelector("[role=status]");

const say = (text) => {
  status.textContent = text;
};

if (!token) {
  form.hidden = true;
  say("The link is incomplete. Open it as a whole, or ask for a new one.");
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const entered = new FormData(form);
  if (entered.get("password") !== entered.get("again")) {
    say("The two passwords are different.");
    return;
  }
  const username = entered.get("username").trim();
  const body = { token, password: entered.get("password"), ...(username && { username }) };
  try {
    const answer = await fetch("/setup", { method: "POST", body: JSON.stringify(body) });
    const result = await answer.json();
    if (!answer.ok) {
      say(result.detail);
      return;
    }
    history.replaceState(null, "", "/setup");
    form.remove();
    say(`${result.user.name}, you are signed in as ${result.user.role.replace("_", " ")}.`);
  } catch {
    say("The appliance does not answer. Try again in a moment.");
  }
});
