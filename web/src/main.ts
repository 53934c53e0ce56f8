import { mount } from "svelte";

import { session } from "./api/session.svelte";
import { router } from "./app/router.svelte";
import "./app/theme.svelte";
import App from "./App.svelte";
import "./ui/base.css";

// What is shown first is drawn in one go: each piece that comes later costs a slow machine another frame. The
// screen is fetched while the answer is on its way; who turns out not to be signed in needs none of it.
const asked = session.load();
if (session.info !== null) await router.found?.screen.load().catch(() => undefined);
await asked;
mount(App, { target: document.body });
