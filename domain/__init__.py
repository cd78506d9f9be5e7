"""The model: what may happen, and why not.

A `Customer` is an organisation or a person, with names, addresses, contacts, terms and owners that hold from a day on.
A `Product` has list prices and categories from a day on, successors and substitutes. A `SalesDocument` is an invoice
with what was credited or cancelled of it, a credit note or an adjustment.

A `SupportCase` is an inquiry or a complaint: messages, states, whose turn it is. Its events are read as a timeline
(`case_reading`), which has figures (`case_figures`); they are in business time by the `ServiceCalendar` in force at
each instant (`business_time`). `Staff` are in `Team`s from a day on.

Each aggregate decides, by methods that return events or raise a `Refusal`, and `evolve` makes its state of events.
"""
