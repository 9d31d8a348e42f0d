"""Corrects a file of failed rows: `correct.py ERRORS SOURCE > CORRECTED`. What was wrong in a row is taken from the row of the same number
in the source; everything else stays as it was given."""
import csv
import sys

failed, source = sys.argv[1:]
with open(source, newline="", encoding="utf-8") as file:
    right = {number: row for number, row in enumerate(csv.DictReader(file), start=2)}
with open(failed, newline="", encoding="utf-8") as file:
    reader = csv.DictReader(file)
    writer = csv.DictWriter(sys.stdout, reader.fieldnames, lineterminator="\n")
    writer.writeheader()
    for row in reader:
        # Cells beyond the header.
        row.pop(None, None)
        named = [name for name in right[2] if f"{name}: " in row["_errors"]]
        ids = ["signalvine_id", "customer_id", "phone"]
        wrong = ids if set(named) & set(ids) else named or ["honors", "credits", "note"]
        row.update({name: right[int(row["_row"])][name] for name in wrong})
        writer.writerow(row)
