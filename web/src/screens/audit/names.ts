// Names of accounts and keys, for screens that are told ids only.
import { api } from "../../api/client";
import { session } from "../../api/session.svelte";
import type { Schemas } from "../../api/types";
import type { Names } from "./words";

type Pair = [string, string];

async function keyNames(): Promise<Pair[]> {
  if (session.may("all_keys:manage")) {
    return (await api.get<Schemas["ApiKey"][]>("/admin/api-keys")).map((key): Pair => [key.key_id, key.name]);
  }
  if (!session.may("own_keys:manage")) return [];
  return (await api.get<Schemas["OwnKeys"]>("/api-keys")).apiKeys.map((key): Pair => [key.id, key.name]);
}

async function userNames(): Promise<Pair[]> {
  if (!session.may("users:manage")) return [];
  return (await api.get<Schemas["User"][]>("/admin/users")).map((user): Pair => [user.id, user.name]);
}

/** Asks for the names this person may see; an id without one is shown as it is. */
export async function readNames(): Promise<Names> {
  const none = (): Pair[] => [];
  const [keys, users] = await Promise.all([keyNames().catch(none), userNames().catch(none)]);
  return { keys: new Map(keys), accounts: new Map(users) };
}
