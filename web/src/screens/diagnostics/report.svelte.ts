// The last run of all checks, kept while the console is open.
import { api } from "../../api/client";
import { asProblem, type Problem } from "../../api/problem";

export interface Check {
  name: string;
  title: string;
  status: "ok" | "warning" | "failed";
  detail: string;
  remedy: string | null;
  took_ms: number;
}

export interface Report {
  status: "ok" | "warning" | "failed";
  at: string;
  checks: Check[];
}

class Checkup {
  report: Report | undefined = $state.raw();
  problem: Problem | undefined = $state.raw();
  isRunning = $state(false);

  async run(): Promise<void> {
    if (this.isRunning) return;
    this.isRunning = true;
    this.problem = undefined;
    try {
      this.report = await api.post<Report>("/admin/diagnostics/run");
    } catch (error) {
      this.problem = asProblem(error);
    } finally {
      this.isRunning = false;
    }
  }
}

export const checkup = new Checkup();
