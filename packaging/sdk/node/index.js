/**
 * The client of a Pagewire appliance.
 *
 *     const FaxbotClient = require('faxbot');
 *     const client = new FaxbotClient('http://localhost:8080', process.env.API_KEY);
 *     const job = await client.sendFax('+15551234567', './letter.pdf');
 *     const fax = await client.waitFor(job.id);
 *
 * It needs Node 18 and nothing else. Every method that the appliance refuses rejects with a
 * FaxbotError, which carries what the appliance said.
 */
'use strict';

const { readFile, writeFile } = require('node:fs/promises');
const { basename } = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

/** Longest wait for the beginning of an answer; documents are converted while the client waits. */
const TIMEOUT_MS = 120_000;
/** Seconds one question of waitFor stays open; the appliance holds it for 55 at most. */
const LONG_POLL_S = 30;
/** Refusals that say when to come back, and end by themselves. */
const PASSING = new Set([429, 503]);
/** Seconds to wait when such a refusal does not say. */
const PASSING_S = 5;

/** What the appliance said when it refused, or why it could not be reached. */
class FaxbotError extends Error {
  constructor(message, { status = null, body = null, retryAfter = null, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'FaxbotError';
    /** HTTP status; null when there was no answer. */
    this.status = status;
    /** The sentence for a person. */
    this.detail = typeof body?.detail === 'string' ? body.detail : null;
    /** The stable code, like 'invalid_api_key'. */
    this.code = body?.error?.code ?? null;
    /** The precise reason of a 401 or 403, where the key itself was right. */
    this.reason = body?.reason ?? null;
    /** What is wrong with which field. */
    this.errors = Array.isArray(body?.errors) ? body.errors : [];
    /** Finds the request in the appliance's log. */
    this.requestId = body?.request_id ?? null;
    /** Seconds after which to try again. */
    this.retryAfter = retryAfter;
  }
}

class FaxbotClient {
  // Private, so that it is in no log of the client object.
  #apiKey;

  /**
   * @param {string} [baseUrl] Address of the appliance.
   * @param {string|null} [apiKey] The API key.
   */
  constructor(baseUrl = 'http://localhost:8080', apiKey = null) {
    this.baseUrl = String(baseUrl).replace(/\/+$/, '');
    this.#apiKey = apiKey;
  }

  /**
   * Sends a fax. Resolves once it is safely on the appliance's disk.
   * @param {string} to Fax number.
   * @param {string|string[]} path Document, or several that become one fax.
   * @param {object} [options] See index.d.ts.
   */
  async sendFax(to, path, options = {}) {
    if (!to) throw new TypeError("The fax number 'to' is missing.");
    const paths = [path].flat().filter(Boolean);
    if (paths.length === 0) throw new TypeError("The document's 'path' is missing.");
    const form = new FormData();
    form.append('to', to);
    for (const [name, value] of Object.entries(formFields(options))) form.append(name, value);
    for (const file of paths) form.append('file', new Blob([await readFile(file)]), basename(file));
    const headers = options.idempotencyKey ? { 'Idempotency-Key': options.idempotencyKey } : {};
    const response = await this.#call('POST', '/fax', { body: form, headers, signal: options.signal });
    return response.json();
  }

  /** The fax as it stands. */
  async getStatus(id) {
    return (await this.#call('GET', faxPath(id))).json();
  }

  /** Whether the appliance runs; rejects when it cannot be reached. */
  async checkHealth() {
    const { status } = await (await this.#call('GET', '/health')).json();
    return status === 'ok';
  }

  /**
   * Resolves with the fax once it has ended: `status` is then SUCCESS or FAILED.
   * @param {string} id
   * @param {{timeoutMs?: number, signal?: AbortSignal}} [options]
   */
  async waitFor(id, { timeoutMs = Infinity, signal } = {}) {
    const path = faxPath(id);
    const end = Date.now() + timeoutMs;
    for (;;) {
      const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
      try {
        const wait = Math.min(LONG_POLL_S, left);
        const fax = await (await this.#call('GET', `${path}?wait=${wait}`, { signal })).json();
        if (fax.status === 'SUCCESS' || fax.status === 'FAILED') return fax;
      } catch (error) {
        if (!PASSING.has(error.status)) throw error;
        await sleep(Math.min(error.retryAfter ?? PASSING_S, left) * 1000, undefined, { signal });
      }
      if (Date.now() >= end) throw new FaxbotError(`The fax ${id} has not ended in ${timeoutMs} ms.`);
    }
  }

  /** Cancels a fax that has not ended; resolves with the fax. */
  async cancel(id) {
    return (await this.#call('DELETE', faxPath(id))).json();
  }

  /**
   * Received faxes, newest first.
   * @param {{limit?: number, offset?: number}} [page]
   */
  async listInbound({ limit, offset } = {}) {
    const query = new URLSearchParams();
    if (limit !== undefined) query.set('limit', limit);
    if (offset !== undefined) query.set('offset', offset);
    return (await this.#call('GET', `/inbound?${query}`)).json();
  }

  /** The pages of a sent fax as a PDF; written to `path` too, when there is one. */
  async downloadPdf(id, path) {
    return this.#document(`${faxPath(id)}/pdf`, path);
  }

  /** The pages of a received fax as a PDF; written to `path` too, when there is one. */
  async downloadInboundPdf(id, path) {
    return this.#document(`${faxPath(id, '/inbound')}/pdf`, path);
  }

  async #document(from, path) {
    const pdf = Buffer.from(await (await this.#call('GET', from)).arrayBuffer());
    if (path) await writeFile(path, pdf);
    return pdf;
  }

  async #call(method, path, { body, headers = {}, signal } = {}) {
    const sent = { Accept: 'application/json', ...headers };
    if (this.#apiKey) sent['X-API-Key'] = this.#apiKey;
    const stop = new AbortController();
    const timer = setTimeout(
      () => stop.abort(new Error(`no answer in ${TIMEOUT_MS / 1000} seconds`)),
      TIMEOUT_MS,
    );
    const giveUp = () => stop.abort(signal.reason);
    if (signal?.aborted) giveUp();
    signal?.addEventListener('abort', giveUp, { once: true });
    let response;
    try {
      // A redirect would carry the key to somewhere nobody named.
      const how = { method, body, headers: sent, redirect: 'error', signal: stop.signal };
      response = await fetch(this.baseUrl + path, how);
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      const why = cause?.cause?.message || cause?.cause?.code || cause?.message;
      throw new FaxbotError(`${this.baseUrl} cannot be reached: ${why}`, { cause });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
    }
    if (!response.ok) throw await refusal(response);
    return response;
  }
}

async function refusal(response) {
  const text = await response.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy in between answers in its own words.
  }
  const said = body?.detail ?? response.statusText;
  const seconds = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
  const retryAfter = Number.isNaN(seconds) ? null : seconds;
  return new FaxbotError(`${response.status}: ${said}`, { status: response.status, body, retryAfter });
}

function faxPath(id, folder = '/fax') {
  if (!id) throw new TypeError("The fax's 'id' is missing.");
  return `${folder}/${encodeURIComponent(id)}`;
}

/** Options in the form's own names. */
function formFields(options) {
  const time = (value) => (value instanceof Date ? value.toISOString() : value);
  const fields = {
    resolution: options.resolution,
    quality: options.quality,
    priority: options.priority,
    tag: options.tag,
    schedule_at: time(options.scheduleAt),
    deadline: time(options.deadline),
    dry_run: options.dryRun ? '1' : undefined,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

module.exports = FaxbotClient;
module.exports.FaxbotClient = FaxbotClient;
module.exports.FaxbotError = FaxbotError;
