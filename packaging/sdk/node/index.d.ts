/** The client of a Pagewire appliance; `const FaxbotClient = require('faxbot')`. */
declare class FaxbotClient {
  readonly baseUrl: string;
  /** `baseUrl` is `http://localhost:8080` when left out. */
  constructor(baseUrl?: string, apiKey?: string | null);
  /** Resolves once the fax is safely on the appliance's disk. */
  sendFax(to: string, path: string | string[], options: FaxbotClient.SendOptions & { dryRun: true }): Promise<FaxbotClient.DryRun>;
  sendFax(to: string, path: string | string[], options?: FaxbotClient.SendOptions): Promise<FaxbotClient.Fax>;
  /** The fax as it stands. */
  getStatus(id: string): Promise<FaxbotClient.Fax>;
  /** Whether the appliance runs; rejects when it cannot be reached. */
  checkHealth(): Promise<boolean>;
  /** Resolves once the fax has ended, however it did. */
  waitFor(id: string, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<FaxbotClient.Fax>;
  /** Cancels a fax that has not ended. */
  cancel(id: string): Promise<FaxbotClient.Fax>;
  /** Received faxes, newest first. */
  listInbound(page?: { limit?: number; offset?: number }): Promise<FaxbotClient.Inbound[]>;
  /** The pages of a sent fax; written to `path` too, when there is one. */
  downloadPdf(id: string, path?: string): Promise<Buffer>;
  /** The pages of a received fax; written to `path` too, when there is one. */
  downloadInboundPdf(id: string, path?: string): Promise<Buffer>;
}

declare namespace FaxbotClient {
  export { FaxbotClient };

  export interface SendOptions {
    /** `fine` when left out. */
    resolution?: 'standard' | 'fine' | 'superfine';
    /** `text` when left out; `photo` takes several times longer on the line. */
    quality?: 'text' | 'photo';
    /** `normal` when left out. */
    priority?: 'high' | 'normal' | 'bulk';
    /** Your own reference, up to 200 characters. */
    tag?: string;
    /** Send not before this time. */
    scheduleAt?: Date | string;
    /** Give up at this time. */
    deadline?: Date | string;
    /** The same value and request give the same answer, and no second fax. */
    idempotencyKey?: string;
    /** Check everything and send nothing. */
    dryRun?: boolean;
    signal?: AbortSignal;
  }

  export interface Outcome {
    /** Why, in one sentence. */
    human: string;
    [more: string]: unknown;
  }

  /** A fax to send. The appliance's `/openapi.json` describes every field. */
  export interface Fax {
    id: string;
    to: string;
    status: 'queued' | 'in_progress' | 'SUCCESS' | 'FAILED';
    /** Why it failed, in one sentence. */
    error: string | null;
    pages: number | null;
    backend: string;
    provider_sid: null;
    created_at: string;
    updated_at: string;
    /** The precise state, like `waiting` or `cancelled`. */
    state: string;
    to_e164: string;
    /** Pages the other machine confirmed. */
    confirmed_pages: number;
    next_try_at: string | null;
    outcome: Outcome | null;
    [more: string]: unknown;
  }

  /** What would become of a fax. */
  export interface DryRun {
    [field: string]: unknown;
  }

  /** A received fax. */
  export interface Inbound {
    id: string;
    /** Caller's number, when the line told it. */
    fr: string | null;
    to: string | null;
    status: 'received' | 'partial';
    pages: number;
    received_at: string;
    [more: string]: unknown;
  }

  /** What the appliance said when it refused, or why it could not be reached. */
  export class FaxbotError extends Error {
    /** HTTP status; null when there was no answer. */
    readonly status: number | null;
    /** The sentence for a person. */
    readonly detail: string | null;
    /** The stable code, like `invalid_api_key`. */
    readonly code: string | null;
    /** The precise reason of a 401 or 403, where the key itself was right. */
    readonly reason: string | null;
    /** What is wrong with which field. */
    readonly errors: { field: string; code: string; message: string }[];
    /** Finds the request in the appliance's log. */
    readonly requestId: string | null;
    /** Seconds after which to try again. */
    readonly retryAfter: number | null;
  }
}

export = FaxbotClient;
