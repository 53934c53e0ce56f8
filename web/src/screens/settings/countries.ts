// Country codes with the country most people mean by it.
const CODES =
  "1US 7RU 20EG 27ZA 30GR 31NL 32BE 33FR 34ES 36HU 39IT 40RO 41CH 43AT 44GB 45DK 46SE 47NO 48PL 49DE 51PE 52MX 54AR 55BR 56CL 57CO 58VE " +
  "60MY 61AU 62ID 63PH 64NZ 65SG 66TH 81JP 82KR 84VN 86CN 90TR 91IN 92PK 94LK 98IR 212MA 213DZ 216TN 233GH 234NG 254KE 351PT 352LU 353IE " +
  "354IS 355AL 356MT 357CY 358FI 359BG 370LT 371LV 372EE 373MD 374AM 375BY 376AD 377MC 380UA 381RS 382ME 385HR 386SI 387BA 389MK 420CZ " +
  "421SK 423LI 502GT 503SV 504HN 505NI 506CR 507PA 591BO 593EC 595PY 598UY 852HK 853MO 880BD 886TW 961LB 962JO 965KW 966SA 968OM 971AE " +
  "972IL 973BH 974QA 977NP 994AZ 995GE 998UZ";

const names = new Intl.DisplayNames("en", { type: "region" });

/** The countries of a selection, by name; the one that is chosen is always among them. */
export function countries(chosen: string): { value: string; text: string }[] {
  const all = CODES.split(" ").map((entry) => {
    const [, code = "", region = ""] = /^(\d+)(\w+)$/.exec(entry) ?? [];
    const name = code === "1" ? "United States and Canada" : (names.of(region) ?? region);
    return { value: code, text: `${name} (+${code})` };
  });
  all.sort((a, b) => a.text.localeCompare(b.text));
  if (chosen && !all.some((country) => country.value === chosen)) all.unshift({ value: chosen, text: `+${chosen}` });
  return all;
}
