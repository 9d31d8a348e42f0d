"""Drives signalvine-sdk 0.4.6 as its users do: uploads in both modes, reads the status, the schema and the contacts."""
import sys
import time

import pandas as pd
from signalvine_sdk.sdk import SignalVineSDK

host, account, token, secret, program = sys.argv[1:]
sdk = SignalVineSDK(account, token, secret, api_hostname=host)


def upload(frame, **flags):
    location = sdk.upsert_participants(program, frame, **flags)
    assert location.startswith("/v2/commands/"), location
    for _ in range(600):
        complete, errors = sdk.get_location_status(location)
        if complete:
            return errors
        time.sleep(0.1)
    raise SystemExit("the import does not end")


frame = pd.DataFrame(
    {
        "customer_id": ["s1", "s2", "s3"],
        "phone": ["(239) 574-5030", "405-468-5465", "+1 917 850 4987"],
        "first_name": ["Zoë", "José María", "ΟΔΥΣΣΕΥΣ"],
        "last_name": ["Núñez-Ångström", 'O"Neil, Jr.', "İstanbul"],
        "active": [True, False, True],
        "credits": [28.0, 0.0, 7.0],
    }
)
assert upload(frame) is None, "tx: no error"

frame.loc[0, "credits"] = 29.0
frame.loc[len(frame)] = ["s4", "no phone", "Bad", "Row", True, 1.0]
errors = upload(frame, mode_flag="tx")
assert errors["applied"] is False and errors["rows"]["failed"] == 1, errors

frame.loc[len(frame)] = ["s5", "7165419523", "Good", "Row", True, 2.0]
errors = upload(frame, mode_flag="row")
assert errors["applied"] is True, errors
assert errors["rows"] == {"read": 5, "added": 1, "updated": 1, "unchanged": 2, "ignored": 0, "failed": 1}, errors
assert errors["errors"][0]["message"] == "Could not parse 'no phone' as Phone", errors

assert upload(frame.iloc[:3], new_flag="ignore") is None

schema = sdk.get_program_schema(program)
assert schema["honors"] == "Maybe (Boolean)" and schema["phone"] == "Phone", schema
names = [item["customerId"] for item in sdk.get_participants_chunk(program, chunk_size=2)]
assert names == ["s1", "s2"], names
assert sdk.get_participants_chunk(program, chunk_size=2, offset=4) == []

programs = sdk.get_programs()
assert [found["id"] for found in programs] == [program], programs
seen, offset = [], 0
while chunk := sdk.get_participants_chunk(program, chunk_size=3, offset=offset):
    seen.extend(item["customerId"] for item in chunk)
    offset += 3
assert seen == ["s1", "s2", "s3", "s5"], seen
print("done")
