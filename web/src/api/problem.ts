import type { Schemas } from "./types";

type Body = Schemas["Problem"];

/** Why a request did not do what was asked, in the server's own words. */
export class Problem extends Error {
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  /** Stable code to branch on, such as `step_up_required`. */
  readonly code: string;
  /** What the log calls the request; shown with a failure of the server, to be copied. */
  readonly requestId: string | undefined;
  readonly errors: readonly { field: string; code: string; message: string }[];
  /** Address of the explanation, below the documentation. */
  readonly type: string | undefined;
  /** Seconds to wait before trying again. */
  readonly retryAfter: number | undefined;

  constructor(status: number, body: Partial<Body>, retryAfter?: number) {
    super(body.detail || "The appliance gave an answer that says nothing.");
    this.name = "Problem";
    this.status = status;
    this.code = body.error?.code ?? (status ? `http_${status}` : "no_answer");
    this.requestId = body.request_id;
    this.errors = body.errors ?? [];
    this.type = body.type;
    this.retryAfter = retryAfter;
  }

  /** What is wrong with this field, to be shown below it. */
  of(field: string): string | undefined {
    return this.errors.find((error) => error.field === field)?.message;
  }

  /** Whether the appliance could not be reached at all. */
  get isOffline(): boolean {
    return this.status === 0;
  }

  static async from(response: Response): Promise<Problem> {
    const wait = Number(response.headers.get("retry-after")) || undefined;
    const body: unknown = await response.json().catch(() => ({}));
    const id = response.headers.get("x-request-id") ?? undefined;
    return new Problem(response.status, { request_id: id, ...(body as Partial<Body>) }, wait);
  }
}

/** Whatever was thrown, as a problem to show. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem(500, { detail: error instanceof Error ? error.message : "Something went wrong in the console." });
}
