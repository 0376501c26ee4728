//! Common names, parted by blanks. None of them was among those that the code tables were made from, but for the Chinese
//! characters: of these the table has the most frequent ones, and the books take them from more.

/// Names of one language.
pub(super) struct Names {
    pub first: &'static str,
    pub last: &'static str,
    /// Whom one calls without a name.
    pub words: &'static str,
    /// One or two characters of a first name after the last name.
    pub is_chinese: bool,
}

impl Names {
    pub const ALL: [Self; 10] = [
        // English
        Self {
            first: "John Patricia Jennifer Barbara Joseph Jessica Thomas Nancy Lisa Donald Andrew Joshua Edward Jason \
               Sharon Laura Ryan Amy Nick Anna Brenda Larry Brandon Helen Alex Ray Janet Jerry Maria Harry Olivia \
               Isla Grace Chloe",
            last: "Miller Davis Anderson Thomas White Harris King Mitchell Evans Turner Parker Morris Cook Howard \
               Richardson Watson Hughes Powell Henderson West Hamilton Wallace Woods Holmes Stevens O'Brien",
            words: "Home Taxi Pizza Plumber Hospital Neighbour Helpdesk",
            is_chinese: false,
        },
        // German
        Self {
            first: "Thomas Horst Hans Matthias Markus Ursula Helga Heike Anna Stefanie Katharina Melanie Leon Felix Luca \
               Marie Leonie Laura Lisa Sebastian Philipp Dirk Tanja Nadine Ute Barbara Gisela Maria Johanna",
            last: "Müller Weber Hoffmann Schäfer Schwarz Hofmann Hartmann Schmitt Schmid Huber Möller Jung Schubert \
               Friedrich Keller Günther Vogt Schreiber Graf Schulte Dietrich Kühn Engel Busch Bergmann Thomas Sauer",
            words: "Mama Oma Opa Büro Zahnarzt Taxi Schule Mailbox Praxis",
            is_chinese: false,
        },
        // French
        Self {
            first: "Marie André Philippe Jacques Stéphane Thomas Alexandre Gabriel Manon Camille Inès Alice Sandrine \
               Valérie Véronique Anne Caroline Laetitia Romain Guillaume Frédéric Benoît Didier Bruno Denise \
               Chantal Corinne Florence",
            last: "Thomas Petit Moreau Morel André Lefèvre Dupont Faure Rousseau Guérin Roussel Dumont Fontaine \
               Chevalier Masson Lemaire Duval Joly Roche Roy Perez Marie Brunet Schmitt Renard Aubert Lemoine \
               Philippe Leclercq",
            words: "Taxi École Mamie Messagerie Plombier Tonton Urgences Notaire",
            is_chinese: false,
        },
        // Spanish
        Self {
            first: "Manuel Carmen Ana Francisco Laura Javier Dolores Lucía Alejandro Francisca Antonia Ángel Sergio \
               Fernando Sara Manuela Raúl Beatriz Enrique Rosario Silvia Vicente Patricia Óscar Alba Marcos Natalia \
               Noelia Guillermo Emilio",
            last: "García Martínez Gómez Díaz Moreno Muñoz Álvarez Serrano Blanco Morales Delgado Núñez Garrido \
               Guerrero Calvo Gallego Peña Flores Carrasco Santana Vicente Vargas Arias Carmona Pastor Velasco Moya \
               Soler Esteban Gallardo",
            words: "Trabajo Dentista Taxi Taller Abuela Abuelo Vecino Tío Hospital",
            is_chinese: false,
        },
        // Polish
        Self {
            first: "Anna Maria Katarzyna Tomasz Barbara Elżbieta Aleksandra Grzegorz Mateusz Danuta Natalia Jerzy Dawid \
               Bartosz Justyna Bożena Sebastian Patryk Henryk Agata Kasia Gosia Bartek",
            last: "Krawczyk Kaczmarek Król Wieczorek Majewski Malinowski Adamczyk Górski Witkowski Walczak Baran \
               Rutkowski Sokołowski Sawicki Kucharski Mazurek Czarnecki Sobczak Konieczny Urban Wasilewski Sikorski \
               Zakrzewski Krajewski Mróz Makowski",
            words: "Mama Lekarz Taxi Mechanik Apteka Fryzjer Wujek Brat",
            is_chinese: false,
        },
        // Turkish
        Self {
            first: "Mustafa Ahmet Ali Hüseyin Meryem Sultan Murat Recep Yasemin Hacer Fatih Cemile Adem Sevim Gülsüm \
               Musa Metin Songül Kübra Serkan Aynur Tuğba Uğur Derya Barış Volkan Kaan Arda Ece",
            last: "Demir Şahin Doğan Çetin Çakır Erdoğan Güler Güneş Turan Özer Kaplan Sarı Köse Toprak Sönmez Balcı \
               Akın Şen Altun Çiftçi Baş Tan Çınar Güngör Işıklı",
            words: "Anne Baba Ev Ofis Doktor Dişçi Okul Patron Kapıcı",
            is_chinese: false,
        },
        // Indonesian
        Self {
            first: "Dewi Yanti Ratna Lestari Maya Ani Nita Doni Sari Endang Slamet Yuni Surya Rahmat Toni Ika Asep \
               Taufik Susi Ita Anisa Citra Novi Ratih Bagus",
            last: "Setiawan Suryadi Siregar Sitorus Purba Sari Lestari Utami Halim Maulana Widodo Purnomo Iskandar \
               Safitri Winarno",
            words: "Apotek Tetangga Ojek Pak Mama Kakak",
            is_chinese: false,
        },
        // Russian
        Self {
            first: "Сергей Евгений Владимир Артём Роман Виктор Кирилл Василий Егор Анна Ольга Татьяна Светлана Юлия \
               Людмила Надежда Валентина Полина Кристина Маша Саша Даша Серёга Андрюха Лёша Костя Юра Тёма Слава",
            last: "Кузнецов Петров Михайлов Фёдоров Морозов Семёнов Борисов Воробьёв Кузьмин Королёв Гусев Ильин \
               Медведев Антонов Тарасов Баранов Филиппов Герасимов Осипов Сидоров Куликов Карпов Гаврилов Тихонов \
               Чернов Мартынов Ефимов Назаров",
            words: "Дом Такси Сервис Дедушка Шеф Банк Дача",
            is_chinese: false,
        },
        // Greek
        Self {
            first: "Δημήτρης Κώστας Θανάσης Μιχάλης Αναστασία Χριστίνα Ηλίας Ιωάννα Φωτεινή Στέλιος Παρασκευή Αικατερίνη \
               Δέσποινα Άγγελος Ευτυχία Νίκη Λάμπρος Θωμάς Μαρίνα",
            last: "Αγγελόπουλος Νικολάου Παπαδάκης Παππάς Αντωνίου Βασιλείου Καραγιάννης Αθανασίου Χριστοδούλου \
               Παπανικολάου Τσιρίγος Ευαγγέλου Διαμαντής Αποστόλου Στεφάνου Ξένος Τσακίρης Βέργος Λαζαρίδης Κοντός \
               Μπάκας",
            words: "Ταξί Υδραυλικός Γείτονας Θείος Συνεργείο",
            is_chinese: false,
        },
        // Chinese
        Self {
            first: "伟 芳 娜 秀 英 敏 静 丽 强 磊 军 洋 勇 艳 杰 娟 涛 明 超 兰 霞 平 刚 桂 华 玉 红 建 国 文 辉 力 玲 梅 鹏 斌 飞 宇 浩 波 婷 雪 琳 晶 欣 佳 慧 颖 莹 倩 \
               璐 瑶 琪 怡 萍 燕 云 凤 春 莉 清 志 德 海 山 新 成 民 东 生 林 永 庆 光 天 子 义 兴 良 峰 宁 贵 福 元 全 胜 学 祥 才 发 武 利 俊 亮 健 世 广 安 岩 中 \
               茂 进 有 坚 和 彪 博 诚 先 敬 震 振 壮 会 思 群 豪 心 邦 承 乐 绍 功 松 善 厚 裕 河 哲 江 亦 晨 轩 泽 睿 梓 涵 诗 雨 嘉 俞 柳 蕾 薇 菲 岚 蓉 琴 珍 贞 \
               珠 翠 雅 芝 香 月 莺 媛 环 爱 妹 淑 惠 昕 萱 彤 然 钰 依 悦 冰 爽 伯 宏 言 若 鸣 朋 梁 栋 维 启 克 伦 翔 旭 泰 盛 雄 琛 钧 冠 策 腾 楠 榕 风 航 弘 阳 \
               煜 懿 烨 立 昊 弟 真 翰 朗 帆 珊 莎 锦 黛 青 美 婵 雁 蓓 纨 仪 荷 丹 眉 君",
            last: "王 李 张 刘 陈 杨 黄 赵 吴 周 徐 孙 马 朱 胡 郭 何 高 林 罗 郑 梁 谢 宋 唐 许 韩 冯 邓 曹 彭 曾 肖 田 董 袁 潘 于 蒋 蔡 余 杜 叶 程 苏 魏 吕 丁 任 沈 \
               姚 卢 姜 崔 钟 谭 陆 汪 范 金 石 廖 贾 夏 韦 付 方 白 邹 孟 熊 秦 邱 江 尹 薛 闫 段 雷 侯 龙 史 陶 黎 贺 顾 毛 郝 龚 邵 万 钱 严 覃 武 戴 莫 孔 向 汤",
            words: "妈妈 爸爸 家 公司 办公室 医生 出租车 学校 银行 老板 爷爷 奶奶 姐姐 弟弟 快递 物业 同事 房东 客服 司机",
            is_chinese: true,
        },
    ];
}
