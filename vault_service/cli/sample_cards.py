"""Published test numbers of the card networks, by the publisher who prints them.

They are facts from public pages of payment services, meant for trying software out; no card has
ever been issued with one of them. Together they cover every brand that publishes such numbers and
every length from 13 to 19 digits. No number may be added here without the page that publishes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Publisher and page -> numbers. Read in November 2026.
PUBLISHED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # docs.stripe.com/testing, "Cards by brand"
        "Stripe": (
            "4242424242424242",
            "4000056655665556",
            "5555555555554444",
            "2223003122003222",
            "5200828282828210",
            "5105105105105100",
            "378282246310005",
            "371449635398431",
            "6011111111111117",
            "6011000990139424",
            "6011981111111113",
            "3056930009020004",
            "36227206271667",
            "6555900000604105",
            "3566002020360505",
            "6200000000000005",
            "6200000000000047",
            "6205500000000000004",
        ),
        # docs.adyen.com/development-resources/testing/test-card-numbers
        "Adyen": (
            "4111111111111111",
            "4988438843884305",
            "4166676667666746",
            "4013250000000000006",
            "5100081112223332",
            "5585558555855583",
            "370000000000002",
            "36006666333344",
            "6445644564456445",
            "5066991111111118",
            "6062828888666688",
            "3569990010095841",
            "6771798021000008",
            "5000550000000029",
            "6703444444444449",
            "6250947000000014",
            "8171999927660000",
            "8171999900000000021",
            "5019555544445555",
            "135410014004955",
        ),
        # developer.paypal.com, Payflow "Test credit card numbers"; 13 and 14 digits among them
        "PayPal": (
            "4222222222222",
            "4012888888881881",
            "378734493671000",
            "30569309025904",
            "38520000023237",
            "3530111333300000",
            "5610591081018250",
            "5019717010103742",
            "6331101999990016",
        ),
        # developer.authorize.net, "Testing guide"
        "Authorize.Net": (
            "4007000000027",
            "4012888818888",
            "5424000000000015",
            "6011000000000012",
            "3088000000000017",
            "38000000000006",
        ),
        # developer.paypal.com/braintree, "Credit card numbers"
        "Braintree": (
            "4005519200000004",
            "2223000048400011",
            "6011000991300009",
            "36259600000004",
            "6304000000000000",
            "6243030000000001",
            "6221261111117766",
        ),
        # developer.worldpay.com, "Test values"
        "Worldpay": (
            "4444333322221111",
            "4917610000000000003",
            "5454545454545454",
            "343434343434343",
            "6011000400000000",
            "3528000700000000",
            "6759649826438453",
        ),
        # developer.cybersource.com, "Testing credit card services"; 14, 18 and 19 digits of Maestro
        "Cybersource": (
            "50339619890917",
            "586824160825533338",
            "6759560045005727054",
            "2222420000001113",
            "135412345678911",
            "3566111111111113",
            "4514160000000003",
        ),
        # support.hipay.com, "Test cards": Maestro of 13 and Bancontact of 17 digits
        "HiPay": ("6766000000000", "67030000000000003"),
        # docs.payone.com, "Positive test cases with credit cards"
        "PAYONE": ("4111141011111111116", "2720990000000015", "3528000000000007"),
        # optimize-docs.billwerk.com, "Testing"
        "Billwerk": ("5019100000000006", "4571994000062336", "6007220000000004"),
        # ap-gateway.mastercard.com, "Test cards"
        "Mastercard Gateway": ("5123450000000008", "5000000000000000005", "30123400000000"),
        # yookassa.ru/developers, "Test bank cards"
        "YooKassa": ("2200000000000004", "2202474301322987"),
        # docs.iyzico.com, "Test cards"
        "iyzico": ("9792072000017956", "9792030000000000"),
        # Interswitch developer documentation, "Test cards"
        "Interswitch": ("5060990580000217499", "5061050254756707864"),
        # developer.flutterwave.com, "Test cards"
        "Flutterwave": ("5061460410120223210",),
        # Razorpay's certification set for RuPay
        "RuPay": ("6074819900004939", "6073849700004947"),
    }
)

NUMBERS: tuple[str, ...] = tuple(number for numbers in PUBLISHED.values() for number in numbers)
