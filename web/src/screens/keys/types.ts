// A key as the API tells of it, with what its description leaves open spelt out.
import type { Schemas } from "../../api/types";

export interface Limits {
  per_minute?: number;
  per_hour?: number;
  pages_per_day?: number;
  new_destinations_per_day?: number;
}

export interface Resources {
  to_prefixes: string[];
  all_jobs: boolean;
}

export interface Key extends Omit<Schemas["ApiKey"], "limits" | "resources"> {
  limits: Limits;
  resources: Resources;
}

export type Safety = Schemas["KeySafety"];
export type KeyEvent = Omit<Schemas["KeyEvent"], "data"> & { data: Record<string, unknown> };

/** What came of a key's requests; the counts stand beside the hour. */
export interface Usage {
  key_id: string;
  hours: ({ hour: string } & Record<string, number | string>)[];
  total: Record<string, number>;
}

/** Who a token belongs to, as `GET /v1/key` tells it. */
export type Presented = Omit<Schemas["PresentedKey"], "limits" | "resources"> & { limits: Limits; resources: Resources };
