# What docs/switching.md takes for granted of the Rails product, as few lines as its code needs: the model with its events,
# packs, mailer and jobs. Then the code of the page, from the files in APP. What a callback does is a row of pwb_notes.
require "active_record"
require "logger"

ActiveRecord::Base.logger = Logger.new($stderr, level: :error)
ActiveRecord::Base.establish_connection(ENV.fetch("PRODUCT_DATABASE_URL"))

module Pwb
  class Note < ActiveRecord::Base
    self.table_name = "pwb_notes"
  end

  class Membership < ActiveRecord::Base
    self.table_name = "pwb_user_memberships"
  end

  class Website < ActiveRecord::Base
    self.table_name = "pwb_websites"

    # As AASM: the state in one statement, what the callback writes in the next, both in one transaction.
    def change_state(state, **more)
      transaction do
        update!(provisioning_state: state)
        update!(more)
      end
    end

    def assign_owner! = change_state("owner_assigned", provisioning_started_at: Time.now.utc)
    def enter_locked_state! = change_state("locked_pending_email_verification", email_verification_token: "token-#{id}")
    def verify_owner_email! = change_state("locked_pending_registration", email_verified_at: Time.now.utc)
    def complete_owner_registration! = update!(provisioning_state: "live")

    # ProvisioningService#configure_site: one transaction.
    def self.configure(**columns)
      transaction do
        website = create!(site_type: "residential", provisioning_state: "pending", **columns)
        Membership.create!(website_id: website.id, user_id: 1, role: "owner")
        website.tap(&:assign_owner!)
      end
    end
  end

  class SeedPack
    def self.find(_name) = new

    %w[seed_pages! seed_page_parts! seed_content!].each do |name|
      define_method(name) { |website:| Note.create!(website_id: website.id, text: name) }
    end
  end

  Mail = Struct.new(:website) do
    def deliver_later = Note.create!(website_id: website.id, text: "verification e-mail")
  end

  module EmailVerificationMailer
    def self.verification_email(website) = Mail.new(website)
  end
end

module PlatformNtfyNotificationJob
  def self.perform_later(type, id, *more) = Pwb::Note.create!(website_id: id, text: [type, *more].join(": "))
end

folder = ENV.fetch("APP")
%w[provisioner provisioning_events provisioner_console].each { |name| require "#{folder}/app/services/#{name}.rb" }
require "#{folder}/app/models/concerns/pwb/provisioned_by_service.rb"
Pwb::Website.include(Pwb::ProvisionedByService)
