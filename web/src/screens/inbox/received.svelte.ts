// What the list of the inbox and the viewer share.
import { api } from "../../api/client";
import type { Schemas } from "../../api/types";

/** A received fax; `read` and what follows came later than the rest. */
export type Received = Schemas["Inbound"] & {
  read?: boolean;
  read_at?: string | null;
  read_by?: string | null;
  assigned_to?: string | null;
  assigned_to_name?: string | null;
  note?: string | null;
};

export interface Assignee {
  id: string;
  name: string;
}

export interface ReceivedChange {
  read?: boolean;
  assigned_to?: string | null;
  note?: string | null;
}

export const oneReceived = (id: string) => api.get<Received>(`/inbound/${encodeURIComponent(id)}`);

export const changeReceived = (id: string, change: ReceivedChange) => api.patch<Received>(`/inbound/${encodeURIComponent(id)}`, change);

/** Whom a fax can be for; nobody where the appliance does not say. */
export const readAssignees = () => api.get<Assignee[]>("/assignees").catch(() => []);

class Order {
  /** The ids of the list as it was left, so that the viewer leads from one fax to the next. */
  ids: string[] = $state.raw([]);

  /** The fax so many places further down; undefined at the ends. */
  beside(id: string, step: 1 | -1): string | undefined {
    const at = this.ids.indexOf(id);
    return at < 0 ? undefined : this.ids[at + step];
  }
}

export const order = new Order();
