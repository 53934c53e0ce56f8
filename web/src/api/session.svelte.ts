// Who is signed in. The cookie is the browser's own and no script reads it.
import { api, askThrough } from "./client";
import { asProblem, Problem } from "./problem";
import type { Right, SessionInfo } from "./types";

/** What a dialog asks for right now. */
type Question = "sign-in" | "password";

class Session {
  /** Undefined before the first answer, null when nobody is signed in. */
  info: SessionInfo | null | undefined = $state.raw();
  /** Why the first answer did not come. */
  problem: Problem | undefined = $state.raw();
  question: Question | undefined = $state();
  /** Until the first look, what the page says of the session is true. */
  #isPageNew = true;
  #answered: ((given: boolean) => void) | undefined;
  #asked: Promise<boolean> | undefined;

  get user() {
    return this.info?.user;
  }

  may(right: Right): boolean {
    return this.info?.rights.includes(right) ?? false;
  }

  /** Whether requests of this session have the scope; whoever has all is told of as "admin". */
  has(scope: string): boolean {
    return this.info?.scopes.some((one) => one === scope || one === "admin") ?? false;
  }

  /** Asks the server who this is. */
  async load(): Promise<void> {
    // The page itself tells it, but for who was led here by another site, whose browser kept the cookie back.
    const isPageNew = this.#isPageNew;
    this.#isPageNew = false;
    const told = document.querySelector<HTMLMetaElement>('meta[name="pagewire-session"]')?.content;
    if (isPageNew && told && told !== "perhaps") {
      this.info = told === "none" ? null : (JSON.parse(told) as SessionInfo);
      return;
    }
    try {
      this.info = await api.get<SessionInfo>("/auth/session", undefined, { bare: true });
      this.problem = undefined;
    } catch (error) {
      const problem = asProblem(error);
      if (problem.status === 401) this.info = null;
      else this.problem = problem;
    }
  }

  async signIn(username: string, password: string, totp?: string): Promise<void> {
    const before = this.user?.id;
    const body = { username, password, ...(totp && { totp }) };
    const info = await api.post<SessionInfo>("/auth/login", body, { bare: true });
    // Somebody else sees nothing of what is on the screen.
    if (before && before !== info.user.id) location.reload();
    this.info = info;
    this.#answer(true);
  }

  async stepUp(password: string): Promise<void> {
    await api.post("/auth/step-up", { password }, { bare: true });
    this.#answer(true);
  }

  async signOut(): Promise<void> {
    try {
      await api.post("/auth/logout", undefined, { bare: true });
    } catch (error) {
      if (asProblem(error).status !== 401) throw error;
    }
    // A page that was left holds no faxes in its memory.
    location.assign(location.pathname);
  }

  /** The dialog was closed without an answer. */
  cancel() {
    const ended = this.question === "sign-in";
    this.#answer(false);
    if (ended) this.info = null;
  }

  /** Shows the dialog once, however many requests wait for it. */
  ask(question: Question): Promise<boolean> {
    // Before anybody was signed in, the sign-in page is there already.
    if (question === "sign-in" && !this.info) return Promise.resolve(false);
    this.#asked ??= new Promise((resolve) => {
      this.question = question;
      this.#answered = resolve;
    });
    return this.#asked;
  }

  #answer(given: boolean) {
    this.question = undefined;
    this.#asked = undefined;
    this.#answered?.(given);
    this.#answered = undefined;
  }
}

export const session = new Session();

askThrough({ signIn: () => session.ask("sign-in"), password: () => session.ask("password") });
