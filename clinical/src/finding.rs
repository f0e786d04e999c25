//! Yes/no facts about a person that models and rules use beside the numbers: history, medication, the flags of a
//! thyroid request form. Absent means unknown, never "no".

macro_rules! findings {
    ($($variant:ident $code:literal $name:literal;)*) => {
        /// A fact that is true, false or unknown for a person.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Finding {
            $(#[doc = $name] #[doc = "."] $variant,)*
        }

        impl Finding {
            /// Every finding, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Stable identifier in snake case.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// English display name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

findings! {
    OnThyroxine "on_thyroxine" "Takes thyroxine";
    QueryOnThyroxine "query_on_thyroxine" "May be taking thyroxine";
    OnAntithyroid "on_antithyroid" "Takes antithyroid medication";
    Sick "sick" "Sick when the sample was taken";
    Pregnant "pregnant" "Pregnant";
    ThyroidSurgery "thyroid_surgery" "Had thyroid surgery";
    I131Treatment "i131_treatment" "Had radioiodine treatment";
    QueryHypothyroid "query_hypothyroid" "Hypothyroidism is suspected";
    QueryHyperthyroid "query_hyperthyroid" "Hyperthyroidism is suspected";
    Lithium "lithium" "Takes lithium";
    Goitre "goitre" "Has a goitre";
    Tumor "tumor" "Has a tumour";
    Hypopituitary "hypopituitary" "Has hypopituitarism";
    Psych "psych" "Under psychiatric care";
    Smoker "smoker" "Smokes now";
    ExSmoker "ex_smoker" "Smoked before";
    DiabetesDiagnosed "diabetes_diagnosed" "Diabetes diagnosed";
    OnInsulin "on_insulin" "Takes insulin";
    OnStatin "on_statin" "Takes a lipid-lowering drug";
    Hypertension "hypertension" "Hypertension diagnosed";
    OnAntihypertensive "on_antihypertensive" "Takes blood pressure medication";
    PriorMyocardialInfarction "prior_myocardial_infarction" "Had a myocardial infarction";
    PriorStroke "prior_stroke" "Had a stroke";
    HeartFailure "heart_failure" "Heart failure diagnosed";
    ChronicKidneyDisease "chronic_kidney_disease" "Chronic kidney disease diagnosed";
    LiverDisease "liver_disease" "Liver disease diagnosed";
    Mgus "mgus" "Monoclonal gammopathy diagnosed";
    PhysicallyActive "physically_active" "Exercises regularly";
    Asthma "asthma" "Asthma diagnosed";
    Cancer "cancer" "Cancer diagnosed";
}

impl Finding {
    /// Finds a finding by its [`code`](Self::code).
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|finding| finding.code() == code)
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back_and_are_unique() {
        for &finding in Finding::ALL {
            assert_eq!(Finding::from_code(finding.code()), Some(finding));
            assert!(!finding.name().is_empty());
        }
        assert_eq!(Finding::from_code("unheard_of"), None);
    }
}
