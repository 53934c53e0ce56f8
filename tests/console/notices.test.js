// E-mail notices: set up, tried, and chosen for one fax.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";

import { missing } from "./appliance.js";
import { inspect, startOffice } from "./console.js";

/** A mail server on this machine that keeps what it takes; it refuses addresses at `nowhere.example`. */
async function startMailServer() {
  const mails = [];
  const server = createServer(async (socket) => {
    const say = (line) => socket.write(`${line}\r\n`);
    let mail = { to: [], text: "" };
    let isText = false;
    socket.on("error", () => {});
    say("220 mail.example.org ESMTP");
    for await (const line of createInterface(socket)) {
      if (isText && line !== ".") mail.text += `${line}\n`;
      else if (isText) {
        isText = false;
        mails.push(mail);
        mail = { to: [], text: "" };
        say("250 2.0.0 Ok: queued as 4bC1");
      } else if (/^(EHLO|HELO)/i.test(line)) say("250 mail.example.org");
      else if (/^RCPT.*@nowhere\.example/i.test(line)) say("550 5.1.2 No such domain");
      else if (/^RCPT/i.test(line)) {
        mail.to.push(/<(.*)>/.exec(line)[1]);
        say("250 2.1.5 Ok");
      } else if (/^DATA/i.test(line)) {
        isText = true;
        say("354 End with a dot");
      } else if (/^QUIT/i.test(line)) {
        say("221 Bye");
        socket.end();
      } else say("250 Ok");
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { mails, address: `127.0.0.1:${server.address().port}`, stop: () => server.close() };
}

describe("e-mail notices", { skip: missing }, () => {
  let office;
  let mailServer;

  before(async () => {
    mailServer = await startMailServer();
    office = await startOffice();
  });

  after(async () => {
    await office?.stop();
    mailServer?.stop();
  });

  const save = (page) => page.getByRole("button", { name: "Save", exact: true }).click();

  test("where no mail is sent, no fax offers it", async () => {
    const page = await office.signIn("/send");
    await Promise.all([page.waitForResponse(/\/admin\/settings$/), page.reload()]);
    await page.getByText("More choices").click();
    await page.getByLabel("Your reference").waitFor();
    assert.equal(await page.getByLabel("Tell me by e-mail").count(), 0);
    assert.deepEqual(page.complaints, []);
    const operators = await office.signIn("/send", { as: await office.person("Olga", "operator") });
    await operators.getByText("More choices").click();
    await operators.getByLabel("Your reference").waitFor();
    assert.equal(await operators.getByLabel("Tell me by e-mail").count(), 0);
  });

  test("they are set up in plain words, and a test says what the mail server said", async () => {
    const page = await office.signIn("/settings/notices");
    await page.getByText("As soon as a mail server and an address that notices are from are saved, it can be tried here.").waitFor();
    await page.getByRole("textbox", { name: "Mail server" }).fill(mailServer.address);
    await page.getByLabel("Not encrypted").check();
    await page.getByLabel("Notices are from").fill("fax@example.org");
    await page.getByLabel("Who is told").fill("desk@example.org");
    await page.getByRole("radio", { name: "Both" }).check();
    await save(page);
    await page.getByText("Saved, and in force.").waitFor();
    await page.getByRole("button", { name: "Send a test mail" }).click();
    await page.getByText(/The mail server took it for desk@example\.org and said: “.*queued as 4bC1”/).waitFor();
    assert.deepEqual(mailServer.mails.map(({ to }) => to), [["desk@example.org"]]);
    await page.getByLabel("To", { exact: true }).fill("somebody@nowhere.example");
    await page.getByRole("button", { name: "Send a test mail" }).click();
    await page.getByText(/It did not go out: .*No such domain/).waitFor();
    await page.getByRole("button", { name: "Dismiss" }).click();
    await inspect(page, "settings-notices");
    await page.getByLabel("To", { exact: true }).fill("nobody");
    await page.getByRole("button", { name: "Send a test mail" }).click();
    await page.getByText(/^'to' /).waitFor();
    assert.equal(page.complaints.filter((text) => text.startsWith("422: ")).length, 1);
  });

  test("one fax tells somebody else, when it has ended", async () => {
    const page = await office.signIn("/send");
    await page.getByText("More choices").click();
    const when = page.getByLabel("Tell me by e-mail");
    await when.getByRole("option", { name: "As for all faxes: both" }).waitFor({ state: "attached" });
    await when.selectOption({ label: "When it has ended" });
    const address = page.getByLabel("E-mail address");
    await page.getByText("Empty for those who are told of all faxes: desk@example.org.").waitFor();
    await page.getByLabel("Fax number", { exact: true }).fill("+15550100001");
    await page.locator("input[type=file]").setInputFiles([{ name: "letter.txt", mimeType: "text/plain", buffer: Buffer.from("A page.") }]);
    await page.getByText(/on the line$/).waitFor();
    await inspect(page, "send-notice");
    await address.fill("not an address");
    await page.getByRole("button", { name: /^Send to/ }).click();
    await page.getByText("'notify_to' must be one e-mail address, like desk@example.org.").waitFor();
    await address.fill("me@example.org");
    await page.getByText(`-F notify_to=me@example.org`).waitFor();
    await page.getByRole("button", { name: /^Send to/ }).click();
    await page.getByRole("heading", { name: "The only page was delivered." }).or(page.getByText("was delivered")).first().waitFor();
    for (let tries = 0; tries < 50 && mailServer.mails.length < 2; tries++) await new Promise((done) => setTimeout(done, 200));
    assert.deepEqual(mailServer.mails.at(-1).to, ["me@example.org"]);
    assert.equal(page.complaints.filter((text) => text.startsWith("422: ")).length, 1);
    const operators = await office.signIn("/send", { as: await office.person("Otto", "operator") });
    await operators.getByText("More choices").click();
    await operators.getByLabel("Tell me by e-mail").waitFor();
  });
});
