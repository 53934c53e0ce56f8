import { mount } from "svelte";

import "./app/theme.svelte";
import App from "./App.svelte";
import "./ui/base.css";

mount(App, { target: document.body });
