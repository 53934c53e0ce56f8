import { expect, test } from "vitest";

import { qrCode } from "./qr";

const drawn = (text: string) => qrCode(text)?.map((row) => row.map((dark) => (dark ? "#" : ".")).join("")).join("\n");

// What other makers of QR codes draw with the same version, correction and mask.
test("a short text is drawn as by others", () => {
  expect(drawn("Pagewire")).toBe(`#######...#.#.#######
#.....#.....#.#.....#
#.###.#.#.#...#.###.#
#.###.#.....#.#.###.#
#.###.#..#.##.#.###.#
#.....#..###..#.....#
#######.#.#.#.#######
........#.#..........
###.#####.#.###...#..
..#.##.##..#...###.##
#######...##.########
.#...#.#.#####.##..#.
..#...#..#.#..#.#...#
........#.....#.#....
#######.###.#..###.##
#.....#.###...#....#.
#.###.#.#...#.#......
#.###.#...##.#.##..#.
#.###.#.##.#.######.#
#.....#.#.####..#..#.
#######.##.#.#####.##`);
});

test("the address for an authenticator app too, in several blocks and with a version", async () => {
  const address = "otpauth://totp/Pagewire:demo?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Pagewire&algorithm=SHA1&digits=6&period=30&name=";
  const picture = new TextEncoder().encode(drawn(address.padEnd(150, "x")));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", picture));
  expect([...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("")).toBe("4c7199086caa6999e3c1c0531489022a6eb8c2106b6df3c6f8d57cc98af0a5fe");
});

test("what does not fit is not drawn", () => {
  expect(qrCode("x".repeat(230))?.length).toBe(53);
  expect(qrCode("x".repeat(231))).toBeUndefined();
});
