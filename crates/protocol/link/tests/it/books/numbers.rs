//! Random telephone numbers that begin as those of a country do.

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

/// Numbers of a country: `#` is any digit, `|` parts alternatives of equal share.
pub(super) struct Plan {
    mobile: &'static str,
    mobile_international: &'static str,
    fixed: &'static str,
    fixed_international: &'static str,
    service: &'static str,
}

/// By language: United Kingdom, Germany, France, Spain, Poland, Turkey, Indonesia, Russia, Greece, China.
const PLANS: [Plan; 10] = [
    Plan {
        mobile: "074########|075########|077########|078########|079########",
        mobile_international: "+4474########|+4475########|+4477########|+4478########|+4479########",
        fixed: "0121#######|0131#######|0161#######|020########|01904######|01223######",
        fixed_international: "+4420########|+44161#######",
        service: "0800######|0345#######|101|150",
    },
    Plan {
        mobile: "0151########|0152########|0157########|0160#######|0162#######|0170#######|0171#######|0172#######|0173#######|0175#######|0176########|0177#######|0178#######|0179#######",
        mobile_international: "+49151########|+49152########|+49157########|+49160#######|+49170#######|+49171#######|+49172#######|+49175#######|+49176########|+49177#######|+49179#######",
        fixed: "030#######|030########|089######|089########|0221######|07031#####|06221######|0711#######",
        fixed_international: "+4930#######|+4989########|+49711######",
        service: "0800#######|115|3311",
    },
    Plan {
        mobile: "06########|06########|07########",
        mobile_international: "+336########|+336########|+337########",
        fixed: "01########|02########|03########|04########|05########|09########",
        fixed_international: "+331########|+334########",
        service: "0800######|36##|123",
    },
    Plan {
        mobile: "6########",
        mobile_international: "+346########",
        fixed: "91#######|93#######|95#######|96#######|98#######",
        fixed_international: "+3491#######|+3493#######",
        service: "900######|1004|112",
    },
    Plan {
        mobile: "50#######|51#######|53#######|60#######|66#######|69#######|72#######|78#######|88#######",
        mobile_international: "+4850#######|+4860#######|+4869#######|+4878#######|+4888#######",
        fixed: "22#######|12#######|71#######|61#######",
        fixed_international: "+4822#######|+4812#######",
        service: "800######|19###|112",
    },
    Plan {
        mobile: "053########|054########|055########|0505#######|0506#######",
        mobile_international: "+9053########|+9054########|+9055########|+90505#######",
        fixed: "0212#######|0216#######|0312#######|0232#######",
        fixed_international: "+90212#######|+90312#######",
        service: "0850#######|444####|155",
    },
    Plan {
        mobile: "0811#######|0812########|0813########|0815########|0816#######|0817########|0819########|0821########|0838########|0852########|0857########|0878########|0896#########",
        mobile_international: "+62811#######|+62812########|+62813########|+62815########|+62821########|+62857########|+62878########",
        fixed: "021#######|021########|022#######|031#######|0274######",
        fixed_international: "+6221########|+6222#######",
        service: "1500###|14###|110",
    },
    Plan {
        mobile: "890########|891########|892########|895########|896########|898########",
        mobile_international: "+790########|+791########|+792########|+795########|+796########|+798########",
        fixed: "8495#######|8499#######|8812#######|8343#######",
        fixed_international: "+7495#######|+7812#######",
        service: "8800#######|0890|112",
    },
    Plan {
        mobile: "690#######|693#######|694#######|697#######|698#######",
        mobile_international: "+30690#######|+30693#######|+30694#######|+30697#######|+30698#######",
        fixed: "210#######|2310######|2610######|2810######",
        fixed_international: "+30210#######|+302310######",
        service: "801#######|13888|100",
    },
    Plan {
        mobile: "130########|135########|136########|137########|138########|139########|150########|151########|158########|159########|177########|180########|186########|188########|189########",
        mobile_international: "+86130########|+86135########|+86138########|+86139########|+86150########|+86158########|+86186########|+86189########",
        fixed: "010########|021########|020########|0755########|0571########",
        fixed_international: "+8610########|+8621########",
        service: "400#######|10086|95588",
    },
];

/// A number of somebody who lives where the language is spoken.
pub(super) fn number(language: usize, random: &mut StdRng) -> String {
    let plan = &PLANS[language];
    let pattern = match random.random_range(0..100) {
        0..46 => plan.mobile,
        46..70 => plan.mobile_international,
        70..86 => plan.fixed,
        86..89 => plan.fixed_international,
        89..94 => plan.service,
        94..98 => PLANS[random.random_range(0..PLANS.len())].mobile_international,
        98 => "*1##|*100#|#31#",
        _ => "",
    };
    let pattern = *pattern.split('|').collect::<Vec<_>>().choose(random).unwrap_or(&"");
    // In codes of the network `#` is itself.
    if pattern.contains('*') || pattern.starts_with('#') {
        return pattern.to_owned();
    }
    let digits = pattern.chars().map(|each| match each {
        '#' => char::from_digit(random.random_range(0..10), 10).unwrap_or('0'),
        digit => digit,
    });
    digits.collect()
}
