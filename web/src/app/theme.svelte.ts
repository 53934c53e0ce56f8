// Light, dark, or as the system has it: the one thing the console keeps in the browser.

export type Theme = "auto" | "light" | "dark";
const NAME = "pagewire-theme";

function stored(): Theme {
  try {
    const value = localStorage.getItem(NAME);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto";
  }
}

class ThemeChoice {
  value: Theme = $state(stored());

  constructor() {
    this.#apply();
  }

  set(value: Theme) {
    this.value = value;
    try {
      if (value === "auto") localStorage.removeItem(NAME);
      else localStorage.setItem(NAME, value);
    } catch {
      // A browser that keeps nothing keeps no choice either.
    }
    this.#apply();
  }

  #apply() {
    if (this.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.value;
  }
}

export const theme = new ThemeChoice();
