"""Which registry gives a country its addresses: whose file must be here before a rule on the country says anything.

Every registry's file also has some addresses of other regions' countries, so that a country is found in a file does not
mean that its addresses are there.

Read first: https://www.nro.net/about/rirs/, and each registry's list of the countries that it serves.
"""

from __future__ import annotations

_COUNTRIES = {
    "arin": "AG AI BB BL BM BS BV CA DM GD GP HM JM KN KY LC MF MQ MS PM PR SH TC UM US VC VG VI",
    "lacnic": "AR AW BO BQ BR BZ CL CO CR CU CW DO EC FK GF GS GT GY HN HT MX NI PA PE PY SR SV SX TT UY VE",
    "afrinic": "AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY MA MG ML MR MU MW"
    " MZ NA NE NG RE RW SC SD SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM ZW",
    "apnic": "AF AS AU BD BN BT CC CK CN CX FJ FM GU HK ID IN IO JP KH KI KP KR LA LK MH MM MN MO MP MV MY NC NF NP NR"
    " NU NZ PF PG PH PK PN PW SB SG TF TH TK TL TO TV TW VN VU WF WS",
}
_REGISTRIES = {country: registry for registry, countries in _COUNTRIES.items() for country in countries.split()}


def registry_of(country: str) -> str:
    """The registry of a country by two letters; Europe's and western Asia's is the one that is left."""
    return _REGISTRIES.get(country.upper(), "ripencc")
