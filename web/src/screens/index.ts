// Every screen there is, once: its address, its place in the menu, who sees it, and where its code lies.
import type { Component } from "svelte";

import type { Right } from "../api/types";
import type { IconName } from "../ui/Icon.svelte";
import Home from "./home/Home.svelte";

export interface Screen {
  /** Below /console; `:name` is a part that varies, handed to the screen in `params`. */
  path: string;
  title: string;
  /** Loaded when it is first shown; Home comes with the frame, because nearly everybody begins there. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- some take `params`, some nothing
  load: () => Promise<{ default: Component<any> }>;
  /** Who may see it; without one, everybody who is signed in. */
  right?: Right;
  /** Its place in the menu; without one it is reached from other screens. */
  menu?: { icon: IconName; group: 1 | 2 | 3 };
  /** What `c` opens while this screen is shown. */
  create?: { text: string; to: string; right: Right };
  /** Shown without the frame and to who is not signed in. */
  open?: boolean;
}

const send: Screen["create"] = { text: "Send a fax", to: "/send", right: "fax:send" };
const key: Screen["create"] = { text: "Create a key", to: "/keys?create=key", right: "own_keys:manage" };
const user: Screen["create"] = { text: "Add a user", to: "/users?create=user", right: "users:manage" };

export const SCREENS: readonly Screen[] = [
  { path: "/", title: "Home", load: () => Promise.resolve({ default: Home }), menu: { icon: "home", group: 1 }, create: send },
  { path: "/send", title: "Send", load: () => import("./send/Send.svelte"), right: "fax:send", menu: { icon: "send", group: 1 } },
  { path: "/jobs", title: "Jobs", load: () => import("./jobs/Jobs.svelte"), right: "jobs:read", menu: { icon: "jobs", group: 1 }, create: send },
  { path: "/jobs/:id", title: "Job", load: () => import("./job/Job.svelte"), right: "jobs:read" },
  { path: "/groups/:id", title: "Group", load: () => import("./group/Group.svelte"), right: "jobs:read" },
  { path: "/inbox", title: "Inbox", load: () => import("./inbox/Inbox.svelte"), right: "inbound:manage", menu: { icon: "inbox", group: 1 } },
  { path: "/inbox/:id", title: "Received fax", load: () => import("./inbox/Inbox.svelte"), right: "inbound:manage" },
  { path: "/keys", title: "API Keys", load: () => import("./keys/Keys.svelte"), right: "own_keys:manage", menu: { icon: "key", group: 2 }, create: key },
  { path: "/keys/:id", title: "API key", load: () => import("./keys/Key.svelte"), right: "own_keys:manage" },
  { path: "/users", title: "Users", load: () => import("./users/Users.svelte"), right: "users:manage", menu: { icon: "users", group: 2 }, create: user },
  { path: "/users/:id", title: "User", load: () => import("./users/User.svelte"), right: "users:manage" },
  { path: "/audit", title: "Audit", load: () => import("./audit/Audit.svelte"), right: "settings:manage", menu: { icon: "audit", group: 2 } },
  { path: "/diagnostics", title: "Diagnostics", load: () => import("./diagnostics/Diagnostics.svelte"), right: "diagnostics:read", menu: { icon: "pulse", group: 3 } },
  { path: "/diagnostics/:part", title: "Diagnostics", load: () => import("./diagnostics/Diagnostics.svelte"), right: "diagnostics:read" },
  { path: "/settings", title: "Settings", load: () => import("./settings/Settings.svelte"), right: "settings:manage", menu: { icon: "settings", group: 3 } },
  { path: "/settings/account", title: "Account key", load: () => import("./account-key/AccountKey.svelte"), right: "own_keys:manage" },
  { path: "/settings/:section", title: "Settings", load: () => import("./settings/Settings.svelte"), right: "settings:manage" },
  { path: "/account", title: "Your account", load: () => import("./account/Account.svelte") },
  { path: "/about", title: "About", load: () => import("./about/About.svelte") },
  { path: "/setup", title: "Set up", load: () => import("./setup/Setup.svelte"), open: true },
];
